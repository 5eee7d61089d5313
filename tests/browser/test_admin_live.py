"""The event browser says that there are new events, and shows them without being loaded anew."""

import pytest
from django.urls import include, path
from playwright.sync_api import expect

from pusherable.channels import FEED
from pusherable.models import AccessEvent
from pusherable.recording import record_access
from tests.browser.live import wait_until_subscribed
from tests.browser.test_admin import LIST
from tests.browser.test_admin import urlpatterns as admin_urls

urlpatterns = [
    *admin_urls,
    path("pusherable/", include("pusherable.urls")),
    path("", include("tests.browser.urls")),
]


@pytest.fixture
def page(open_page, admin_user, settings):
    settings.ROOT_URLCONF = __name__
    settings.PUSHERABLE_FEED = True
    return open_page(admin_user)


@pytest.mark.parametrize("there_are_some", [True, False], ids=["a list", "an empty list"])
def test_new_events_wait_behind_their_number(page, poll, ada, server, there_are_some):
    old = [record_access(poll, "view", user=ada) for _ in range(55 if there_are_some else 0)]
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/news/" in request.url else None)
    page.clock.install()
    with page.expect_response("**/news/*"):
        page.goto(LIST)
    wait_until_subscribed(page, FEED)
    page.clock.run_for(2_000)
    page.evaluate("window.stays = document.querySelector('#changelist')")
    if there_are_some:
        page.locator("input.action-select").nth(1).check()
    where = "() => document.querySelector('#changelist-form').lastElementChild.getBoundingClientRect().top"
    top = page.evaluate(where)
    button = page.locator("button.pusherable-news")
    expect(button).to_be_hidden()

    # Of the first no message tells.
    new = [AccessEvent.objects.create(action="left", object_type="testapp.poll", username="ada")]
    new += [record_access(poll, "updated", user=ada) for _ in range(2)]
    expect(button).to_have_text("3 new events")
    expect(page.get_by_role("status")).to_have_text("3 new events")
    assert page.evaluate(where) == top
    assert len(asked) <= 3
    button.focus()
    page.keyboard.press("Enter")

    rows = page.locator("#result_list tbody tr")
    expect(page.locator(".pusherable-new")).to_have_count(3)
    expect(button).to_be_hidden()
    shown = page.locator("#result_list [data-event-id]").evaluate_all(
        "all => all.map(one => one.dataset.eventId)"
    )
    assert shown == [str(event.pk) for event in [*old, *new][::-1][:50]]
    expect(rows.first.get_by_role("link").first).to_be_focused()
    assert page.evaluate("stays.isConnected")
    if there_are_some:
        expect(page.locator("input.action-select").nth(4)).to_be_checked()
        expect(page.locator(".action-counter")).to_have_text("1 of 50 selected")
    record_access(poll, "view", user=ada)
    page.clock.run_for(2_000)
    expect(button).to_have_text("1 new event")
    if there_are_some:
        page.get_by_role("link", name="Older").click()
        page.wait_for_url(f"**before_id={shown[-1]}")
    assert page.page_errors() == []


def test_who_is_signed_out_is_not_told(page, poll, admin_user, server):
    """And does not read the login page instead."""
    with page.expect_response("**/news/*"):
        page.goto(LIST)
    admin_user.is_active = False
    admin_user.save()
    with page.expect_response("**/news/*") as response:
        record_access(poll, "view")
    assert response.value.status == 302
    page.wait_for_function("name => !Pusher.instances[0].channel(name)", arg=FEED)
    expect(page.locator("button.pusherable-news")).to_be_hidden()
