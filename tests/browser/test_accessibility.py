"""What axe-core finds on the pages that come with the package: no violation of WCAG 2.1 AA.

In light and dark, wide and as narrow as a phone, from left to right and from right to left.
"""

import pytest
from django import VERSION
from django.utils import timezone
from django.utils.translation import get_language

from pusherable.models import AccessEvent, Delivery
from tests.browser.conftest import AXE
from tests.browser.test_admin import LIST

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
#: Each of the schemes, widths and directions, if not each with each.
LOOKS = [("light", 320, "ar"), ("dark", 1280, "en")]
#: What Django's own pages had against the rules before 6.0, in spite of all that is ours.
OLD = VERSION < (6, 0)


@pytest.fixture(params=LOOKS, ids=lambda look: "-".join(map(str, look)))
def page(request, open_page, admin_user, settings):
    scheme, width, language = request.param
    settings.ROOT_URLCONF = "tests.browser.test_admin"
    settings.LANGUAGE_CODE = language
    page = open_page(admin_user)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.add_init_script(path=AXE)
    return page


@pytest.fixture
def event(poll, ada):
    """One that has whatever the page of an event can show, among others."""
    about = {"object_type": "testapp.poll", "object_pk": str(poll.pk), "object_repr": str(poll)}
    AccessEvent.objects.create(action="view", username="eve", user_pk="7", **about)
    event = AccessEvent.objects.create(
        action="updated",
        username="ada",
        user_pk=str(ada.pk),
        remote_addr="192.0.2.1",
        request_id="7f3a",
        context={"method": "POST", "path": "/polls/1/"},
        snapshot={"question": "What's up?"},
        changes={"question": ["What's down?", "What's up?"], "owner": [None, 7]},
        channels=["poll_1"],
        **about,
    )
    Delivery.of(event, failed_at=timezone.now(), attempts=3, last_error="503").save()
    AccessEvent.objects.create(action="left", context={"duration": 80}, **about)
    return event


def violations(page):
    """What is wrong, as (rule, elements)."""
    assert page.locator("html").get_attribute("dir") == {"ar": "rtl", "en": "ltr"}[get_language()]
    context = {"include": [["html"]], "exclude": [[".breadcrumbs"]] if OLD else []}
    result = page.evaluate("([context, levels]) => axe.run(context, { runOnly: levels })", [context, LEVELS])
    assert result["passes"]
    return [(found["id"], [node["html"] for node in found["nodes"]]) for found in result["violations"]]


def fits(page):
    """Whether nothing has to be scrolled sideways."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_list(page, event):
    page.goto(LIST)
    page.locator(".pusherable-filter summary").click()
    page.locator(".pusherable-charts").scroll_into_view_if_needed()
    page.locator(".pusherable-chart summary").click()
    assert violations(page) == []
    assert fits(page)


def test_a_wrong_filter(page, event):
    page.goto(f"{LIST}?after=soon&object_pk=1")
    assert violations(page) == []
    assert fits(page)


# For a stylesheet that another one imports, as Django's did there, axe-core writes a <style>.
@pytest.mark.violates(*(["style-src-elem"] if OLD else []))
def test_the_page_of_an_event(page, event):
    page.goto(f"{LIST}{event.pk}/change/")
    assert page.locator("del").count()
    assert violations(page) == []
    assert fits(page)
