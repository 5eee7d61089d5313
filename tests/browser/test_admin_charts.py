"""The charts above the list of events, as somebody sees them who looks for what is unusual."""

import datetime as dt
import random
import re

import pytest
from playwright.sync_api import expect

from pusherable.models import AccessEvent
from tests.browser.policy import HEADER, strict
from tests.browser.test_admin import LIST

NIGHT = dt.datetime(2026, 11, 20, 2, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
STATUS = "pusherable-fragment [role=status]"
CHARTS = re.compile(r"/accessevent/charts/")
ACTIONS = {"view": 60, "update": 10, "updated": 9, "left": 4, "created": 3, "deleted": 1, "printed": 1}


@pytest.fixture
def page(open_page, admin_user, settings):
    settings.ROOT_URLCONF = "tests.browser.test_admin"
    return open_page(admin_user)


def opened(number, **fields):
    about = {"object_type": "clinic.patient", "object_pk": str(number), "object_repr": f"Patient {number}"}
    return AccessEvent(**{"action": "view"} | about | fields)


@pytest.fixture
def week(db):
    """What five people do in a week, by day; but in one night, one of them opened 400 records."""
    chance = random.Random(7)
    work = [
        opened(
            int(chance.expovariate(0.02)),
            action=chance.choices(list(ACTIONS), list(ACTIONS.values()))[0],
            username=chance.choice(["ada", "ben", "cleo", "dan", "eve"]),
            occurred_at=NIGHT + days * DAY + dt.timedelta(hours=chance.triangular(5.5, 16.5, 9)),
        )
        for days in range(-4, 3)
        for _ in range(190 if days < 1 else 40)
    ]
    night = [
        opened(1_000 + number, username="eve", occurred_at=NIGHT + dt.timedelta(seconds=9 * number))
        for number in range(400)
    ]
    AccessEvent.objects.bulk_create(sorted(work + night, key=lambda event: event.occurred_at))


def heights(boxes):
    return sorted(box.bounding_box()["height"] for box in boxes.all())


def test_a_night_is_seen_at_once(page, week):
    page.goto(LIST)
    expect(page.locator(".pusherable-bars")).to_be_visible()
    *others, highest = heights(page.locator(".pusherable-bars [fill$='fill-0)']"))
    assert len(others) == 6
    assert highest > 3 * max(others)
    busiest = page.locator(".pusherable-users li")
    expect(busiest).to_have_count(5)
    expect(busiest.first.get_by_role("link").first).to_have_text("eve")
    expect(busiest.first).to_contain_text("Most between 02:00 and 03:00 on Nov. 20, 2026: 400.")
    shares = [
        box.bounding_box()["width"] for box in page.locator(".pusherable-users .pusherable-share rect").all()
    ]
    assert shares[0] > 2 * shares[1]

    night = busiest.first.locator(".pusherable-night").bounding_box()
    *day, two = heights(busiest.first.locator(".pusherable-day .pusherable-ink"))
    spike = busiest.first.locator(".pusherable-day .pusherable-ink").first.bounding_box()
    assert spike["height"] == two > 5 * max(day)
    assert night["x"] <= spike["x"] < night["x"] + night["width"]


def test_and_leads_to_the_events_of_that_hour(page, week):
    page.goto(LIST)
    link = page.get_by_role("link", name="02:00 and 03:00 on Nov. 20, 2026")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**username=eve**")
    expect(page.get_by_label("From")).to_have_value("2026-11-20T02:00:00+00:00")
    expect(page.get_by_text("all 400 events")).to_be_visible()
    expect(page.get_by_role("img", name="Events by hour and action")).to_be_visible()


def test_the_figures_are_also_in_a_table(page, week):
    page.goto(LIST)
    page.get_by_text("As a table").focus()
    page.keyboard.press("Enter")
    table = page.get_by_role("region", name="Events by day and action")
    expect(table.get_by_role("row")).to_have_count(1 + 7)
    page.keyboard.press("Tab")
    expect(table).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**after=2026-11-16&before=2026-11-16")


def test_they_come_after_the_list_which_stays_where_it_is(page, week):
    waiting = []
    # Playwright sets attributes on what it is given, and so takes no built-in method.
    page.route(CHARTS, lambda route: waiting.append(route))  # noqa: PLW0108
    page.goto(LIST)
    expect(page.locator("#result_list tbody tr")).to_have_count(50)
    expect(page.locator(STATUS)).to_have_text("The charts are being loaded.")
    before = page.locator("#result_list").bounding_box()["y"]
    page.wait_for_function("() => document.readyState === 'complete'")
    (route,) = waiting
    route.continue_()
    expect(page.locator(".pusherable-bars")).to_be_visible()
    expect(page.locator(STATUS)).to_have_count(0)
    assert abs(page.locator("#result_list").bounding_box()["y"] - before) < 120


def test_on_failure_one_can_try_again(page, week):
    page.route(CHARTS, lambda route: route.abort(), times=1)
    page.goto(LIST)
    expect(page.locator(STATUS)).to_contain_text("The charts could not be loaded.")
    expect(page.get_by_role("link", name="Charts of these events")).to_be_visible()
    page.route(CHARTS, lambda route: route.fulfill(status=500, body="Oh!", content_type="text/html"), times=1)
    page.get_by_role("button", name="Try again").press("Enter")
    expect(page.locator(STATUS)).to_contain_text("The charts could not be loaded.")
    page.get_by_role("button", name="Try again").press("Enter")
    expect(page.locator(".pusherable-bars")).to_be_visible()
    expect(page.get_by_text("could not be loaded")).to_have_count(0)
    expect(page.locator("pusherable-fragment")).to_be_focused()


def test_on_an_older_page_they_come_when_they_are_asked_for(page, week):
    asked = []
    page.on("request", lambda request: CHARTS.search(request.url) and asked.append(request))
    page.goto(f"{LIST}?before_id=9000000000000000000")
    expect(page.locator("#result_list tbody tr")).to_have_count(50)
    assert asked == []
    page.get_by_text("Charts", exact=True).click()
    expect(page.get_by_text("all 1430 events")).to_be_visible()
    assert len(asked) == 1


def test_whose_session_has_ended_is_not_shown_a_form_to_sign_in(page, week):
    page.goto(f"{LIST}?before_id=9000000000000000000")
    page.context.clear_cookies()
    page.get_by_text("Charts", exact=True).click()
    expect(page.locator(STATUS)).to_contain_text("The charts could not be loaded.")
    expect(page.locator("[type=password]")).to_have_count(0)


@pytest.mark.violates("require-trusted-types-for")  # by the jQuery of the admin, when it looks around
def test_under_trusted_types(page, week):
    def answer(route):
        response = route.fetch()
        policy = f"{strict()}; require-trusted-types-for 'script'; trusted-types 'none'"
        route.fulfill(response=response, headers=response.headers | {HEADER.lower(): policy})

    page.route(f"**{LIST}", answer)
    page.goto(LIST)
    expect(page.locator(".pusherable-bars")).to_be_visible()


def test_without_scripts_a_link_leads_to_them(page, browser, week, live_server):
    with browser.new_context(base_url=live_server.url, java_script_enabled=False) as context:
        context.add_cookies(page.context.cookies())
        plain = context.new_page()
        plain.goto(f"{LIST}?username=eve")
        plain.get_by_role("link", name="Charts of these events").click()
        expect(plain.locator("h1", has_text="Charts of access events")).to_be_visible()
        expect(plain.locator(".pusherable-bars .pusherable-time rect").first).to_be_visible()
        plain.get_by_role("link", name="Back to the list").click()
        expect(plain.get_by_label("Username")).to_have_value("eve")


def test_time_goes_as_the_language_does(page, week, settings):
    settings.LANGUAGE_CODE = "ar"
    page.goto(LIST)
    expect(page.locator(".pusherable-bars")).to_be_visible()
    bars = page.locator(".pusherable-bars [fill$='fill-0)']").all()
    places = [bar.bounding_box()["x"] for bar in bars]
    assert len(places) == 7
    assert places == sorted(places, reverse=True)
    first, second = (
        tick.bounding_box() for tick in page.locator(".pusherable-bars .pusherable-tick").all()[:2]
    )
    assert first["x"] > places[0] > second["x"] > places[2]


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_narrow_screen_shows_all_of_it(page, week, settings, language):
    settings.LANGUAGE_CODE = language
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(LIST)
    page.locator("pusherable-fragment").scroll_into_view_if_needed()
    expect(page.locator(".pusherable-bars")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    shown = page.locator(
        ":is(.pusherable-charts text, .pusherable-charts rect, .pusherable-charts p):visible"
    )
    assert shown.count() > 50
    for box in (one.bounding_box() for one in shown.all()):
        assert box["x"] >= -1
        assert box["x"] + box["width"] <= 321
