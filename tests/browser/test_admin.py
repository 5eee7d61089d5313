"""The event browser as somebody uses it, under a policy that allows nothing inline."""

import json

import pytest
from django.contrib import admin
from django.urls import path
from django.utils import timezone
from playwright.sync_api import expect

from pusherable.admin import AccessEventAdmin
from pusherable.models import AccessEvent, Delivery
from tests.browser.policy import protected, report

LIST = "/admin/pusherable/accessevent/"


class Site(admin.AdminSite):
    """An admin of which every page has the policy."""

    def admin_view(self, view, cacheable=False):
        return protected(super().admin_view(view, cacheable))


site = Site()
site.register(AccessEvent, AccessEventAdmin)
urlpatterns = [path("admin/", site.urls), path("policy/<int:number>/", report)]


@pytest.fixture
def page(open_page, admin_user, settings):
    settings.ROOT_URLCONF = "tests.browser.test_admin"
    return open_page(admin_user)


@pytest.fixture
def events(poll):
    """Ada's change, which Pusher did not get, between two visits of Eve."""
    about = {"object_type": "testapp.poll", "object_pk": str(poll.pk), "object_repr": str(poll)}
    changes = {"question": ["What's down?", "What's up?"], "owner": [None, 7]}
    first = AccessEvent.objects.create(action="view", username="eve", **about)
    changed = AccessEvent.objects.create(
        action="updated", username="ada", changes=changes, channels=["poll_1"], **about
    )
    Delivery.of(changed, failed_at=timezone.now(), last_error="503").save()
    return first, changed, AccessEvent.objects.create(action="view", username="eve", **about)


def test_from_a_question_to_its_answer(page, events):
    page.goto(LIST)
    rows = page.locator("#result_list tbody tr")
    expect(rows).to_have_count(3)
    page.get_by_label("Username").fill("ada")
    page.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("failed")

    rows.get_by_role("link").first.click()
    expect(page.locator("del")).to_have_text("down")
    expect(page.locator("ins")).to_have_count(2)
    # A database may keep the keys of JSON in an order of its own.
    assert sorted(page.locator("ins").all_text_contents()) == ["7", "up"]
    page.get_by_role("button", name="Send again").click()
    expect(page.locator(".messagelist")).to_contain_text("The event is being sent again.")
    page.get_by_role("link", name="Back to the list").click()
    expect(page.get_by_label("Username")).to_have_value("ada")
    expect(rows).to_have_count(1)


def test_from_event_to_event(page, events):
    first, changed, last = events
    page.goto(f"{LIST}{first.pk}/change/")
    for event in (changed, last):
        page.locator("[rel=next]").click()
        page.wait_for_url(f"**/{event.pk}/change/**")
    expect(page.locator("[rel=next]")).to_have_count(0)
    page.locator("[rel=prev]").click()
    page.wait_for_url(f"**/{changed.pk}/change/**")


def test_a_wrong_value_opens_its_field_and_says_so(page, events):
    page.goto(LIST)
    expect(page.get_by_label("From")).not_to_be_visible()
    page.get_by_text("More filters").click()
    page.get_by_label("From").fill("tomorrow")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_label("From")).to_be_visible()
    expect(page.get_by_label("From")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("Enter a date or time, such as")).to_be_visible()
    expect(page.locator("#result_list")).to_have_count(0)


def test_taking_events_away(page, events):
    page.goto(f"{LIST}?username=eve")
    for label, name, size in (("CSV", "csv", 1 + 2), ("JSON Lines", "jsonl", 2)):
        with page.expect_download() as started:
            page.get_by_role("button", name=f"Export as {label}").click()
        assert started.value.suggested_filename.endswith(f".{name}")
        assert len(started.value.path().read_bytes().splitlines()) == size
    assert AccessEvent.objects.filter(action="export").count() == 2


def test_two_of_the_rows_by_keyboard(page, events):
    first, changed, _last = events
    page.goto(LIST)
    run = page.locator("#changelist-form button[name=index]")
    for event in (first, changed):
        page.locator(f"[name=_selected_action][value='{event.pk}']").press("Space")
    expect(page.get_by_text("2 of 3 selected")).to_be_visible()
    page.get_by_label("Action:").last.select_option(label="Export as JSON Lines")
    with page.expect_download() as started:
        run.press("Enter")
    lines = started.value.path().read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [changed.pk, first.pk]

    page.get_by_label("Action:").last.select_option(label="Send again")
    run.press("Enter")
    expect(page.locator(".messagelist")).to_contain_text("1 event is being sent again.")
    expect(page.locator(".messagelist")).to_contain_text("1 event is not broadcast.")


def test_a_narrow_screen_shows_all_of_it(page, events):
    names = {"action": "view", "object_type": "gone.thing", "object_pk": "1", "object_repr": "W" * 255}
    endless = AccessEvent.objects.create(**names, channels=["w" * 164])
    page.set_viewport_size({"width": 320, "height": 640})
    addresses = [f"{LIST}{event.pk}/change/" for event in (events[1], endless)]
    for address in (LIST, f"{LIST}?after=x", *addresses):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        for cell in page.locator("#result_list td:visible, .pusherable-table td:visible").all():
            box = cell.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 320
