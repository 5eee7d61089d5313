"""The activity page as somebody uses it, under a policy that allows nothing inline."""

import pytest
from django.urls import URLPattern, include, path
from django.utils import timezone
from playwright.sync_api import expect

from pusherable import urls
from pusherable.models import AccessEvent
from tests.browser.conftest import AXE
from tests.browser.policy import protected
from tests.browser.test_accessibility import LOOKS, fits, violations
from tests.browser.urls import urlpatterns as others

PAGE = "/pusherable/activity/"
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3

ours = [URLPattern(each.pattern, protected(each.callback), name=each.name) for each in urls.urlpatterns]
urlpatterns = [path("pusherable/", include((ours, urls.app_name))), *others]


@pytest.fixture
def page(open_page, admin_user, settings):
    settings.ROOT_URLCONF = "tests.browser.test_activity_page"
    page = open_page(admin_user)
    page.add_init_script(path=AXE)
    return page


@pytest.fixture
def events(db):
    """Ada's change between visits of Eve, and names that are long or run from right to left."""
    about = {"object_type": "testapp.poll", "object_pk": "1", "remote_addr": "2001:db8::1"}
    each = [
        *[{"action": "view", "username": "eve", "object_repr": "What's up?"}] * 3,
        {"action": "updated", "username": "ada", "object_repr": "What's up?"},
        {"action": "deleted", "username": "דנה", "object_repr": "نور", "object_pk": LONG},
        {"action": "view", "username": LONG, "object_repr": LONG, "object_pk": LONG},
    ]
    return [AccessEvent.objects.create(occurred_at=timezone.now(), **about | fields) for fields in each]


def items(page):
    return page.locator(".pusherable-activity-item")


def test_from_a_question_to_an_object_by_keyboard(page, events):
    page.goto(PAGE)
    expect(items(page)).to_have_count(4)
    page.get_by_label("Username").focus()
    page.keyboard.type("eve")
    page.keyboard.press("Enter")
    expect(items(page)).to_have_count(1)
    expect(items(page)).to_contain_text("eve opened What's up? 3 times")
    expect(page.get_by_label("Username")).to_have_value("eve")

    page.get_by_role("link", name="testapp.poll 1").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Activity of What's up?")
    expect(items(page)).to_have_count(2)
    page.get_by_text("More filters").focus()
    page.keyboard.press("Space")
    expect(page.get_by_label("Address")).to_be_visible()
    page.get_by_role("link", name="All activity").click()
    expect(items(page)).to_have_count(4 + 2)  # the search, and the question about the object


def test_turning_pages(page, events):
    AccessEvent.objects.bulk_create(
        AccessEvent(action="updated", object_type="testapp.poll", object_pk="2") for _ in range(60)
    )
    page.goto(PAGE)
    expect(items(page)).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(items(page)).to_have_count(10 + 4)
    page.get_by_role("link", name="Newest").click()
    expect(items(page)).to_have_count(50)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: "-".join(map(str, look)))
@pytest.mark.parametrize("address", ["", "?after=soon&object_pk=1", "testapp.poll/1/"])
def test_it_can_be_read_by_everybody(page, events, settings, address, look):
    scheme, width, settings.LANGUAGE_CODE = look
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(PAGE + address)
    page.locator(".pusherable-filter details").evaluate("details => { details.open = true; }")
    assert violations(page) == []
    assert fits(page)


def test_it_has_a_look_of_its_own_without_a_site(page, events):
    page.emulate_media(color_scheme="dark")
    page.goto(PAGE)
    colours = page.locator("html").evaluate(
        "html => ['color', 'backgroundColor'].map(name => getComputedStyle(html)[name])"
    )
    assert colours == ["rgb(232, 233, 236)", "rgb(21, 23, 27)"]
    assert items(page).first.evaluate("item => getComputedStyle(item, '::before').borderRadius") == "50%"


def test_a_dark_site_need_not_name_its_scheme(page, events):
    page.goto(PAGE)
    page.locator("html").evaluate(
        "({ style }) => Object.assign(style, { colorScheme: 'normal', color: '#eee', background: '#111' })"
    )
    field = page.get_by_label("Username")
    expect(field).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(field).to_have_css("color", "rgb(0, 0, 0)")
