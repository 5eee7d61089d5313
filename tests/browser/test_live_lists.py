"""Live lists with the real pusher-js: a message is a hint, and what is shown comes from the site."""

import datetime as dt
import json

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from playwright.sync_api import expect

from pusherable.channels import FEED
from pusherable.delivery.messages import Message
from pusherable.delivery.transports import transport
from pusherable.models import AccessEvent
from pusherable.recording import record_access
from tests.browser.live import SCRIPT, wait_until_subscribed
from tests.browser.policy import HEADER, strict

FEED_LIST = SCRIPT + "<meta charset=utf-8>{% pusherable_activity live=True limit=100 %}"
ITEMS = "**/pusherable/activity/items/*"

#: Keeps what the live region says.
LISTEN = """
    () => {
        window.said = [];
        const status = document.querySelector("[role=status]");
        new MutationObserver(() => status.textContent && said.push(status.textContent))
            .observe(status, { childList: true });
    }
"""


@pytest.fixture(autouse=True)
def _feed(settings, write_page):
    settings.PUSHERABLE_FEED = True


@pytest.fixture
def reader(db):
    user = User.objects.create_user("reader")
    user.user_permissions.add(Permission.objects.get(codename="view_accessevent"))
    return user


class Live:
    """A page with a live list, and how often it has asked for the items."""

    def __init__(self, page, address, *channels):
        self.page, self.asked = page, []
        page.on("request", lambda request: "/items/" in request.url and self.asked.append(request.url))
        page.clock.install()
        with page.expect_response(ITEMS):
            page.goto(address)
        wait_until_subscribed(page, *(channels or [FEED]))
        self.settle()
        page.evaluate(LISTEN)
        self.items = page.locator(".pusherable-activity-item")
        self.button = page.locator(".pusherable-activity-news")

    def settle(self):
        """Whatever is still to be asked has been asked."""
        self.page.clock.run_for(15_000)
        self.page.wait_for_function("() => true")

    def events(self):
        return [int(item.get_attribute("data-event-id")) for item in self.items.all()]


@pytest.fixture
def opened(open_page, write_page, reader):
    def opened(template=FEED_LIST, **options):
        return Live(open_page(reader), write_page(template, **options))

    return opened


def send(*ids, channel=FEED, **data):
    transport.get().send([Message(channel, "view", json.dumps({"event_id": each} | data)) for each in ids])


def unheard(poll, **fields):
    """An event of which no message tells."""
    return AccessEvent.objects.create(
        action="view", object_type="testapp.poll", object_pk=str(poll.pk), object_repr=str(poll), **fields
    )


def test_a_message_is_only_a_hint(opened, poll, ada):
    policy = f"{strict()}; require-trusted-types-for 'script'; trusted-types 'none'"
    live = opened(headers={HEADER: policy})
    expect(live.page.locator(".pusherable-activity-empty")).to_be_visible()
    assert len(live.asked) == 1
    event = unheard(poll, username="<b>ada</b>")
    send(event.pk, user="forged", object={"question": "forged"})
    expect(live.items).to_have_count(1)
    expect(live.items).to_contain_text("<b>ada</b> opened What's up?")
    assert len(live.asked) == 2
    assert "forged" not in live.page.content()
    live.settle()
    assert live.page.evaluate("said") == ["New events: 1"]

    # Again, as a replay, and what is no id at all.
    send(event.pk, event.pk)
    send(event.pk, replayed=True)
    send("forged", None)
    live.settle()
    assert len(live.asked) == 2
    for _ in range(2):  # of one that is not shown
        send(event.pk + 1_000)
        live.settle()
    assert len(live.asked) == 3
    assert live.page.page_errors() == []


def test_a_burst_is_asked_for_and_announced_as_one(opened, poll, ada):
    live = opened()
    clock = live.page.clock
    live.page.evaluate(
        "name => { heard = 0; Pusher.instances[0].channel(name).bind_global(() => heard++) }", FEED
    )
    clock.pause_at(timezone.now() + dt.timedelta(minutes=1))
    events = [record_access(poll, "updated", user=ada) for _ in range(50)]
    live.page.wait_for_function("() => heard === 50")
    assert len(live.asked) == 1
    clock.run_for(400)
    expect(live.items).to_have_count(50)
    assert live.events() == [event.pk for event in reversed(events)]

    # What comes at once is not asked for at once, nor announced.
    clock.run_for(500)
    record_access(poll, "updated", user=ada)
    live.page.wait_for_function("() => heard === 51")
    clock.run_for(400)
    assert len(live.asked) == 2
    clock.run_for(200)
    expect(live.items).to_have_count(51)
    clock.run_for(5_000)
    assert live.page.evaluate("said") == ["New events: 50"]
    clock.run_for(10_000)
    assert live.page.evaluate("said") == ["New events: 50", "New events: 1"]
    assert len(live.asked) == 3


def test_what_came_out_of_order_is_there(opened, poll):
    first, late, last = (unheard(poll, username=name) for name in ("ada", "bob", "cyd"))
    late_id = late.pk
    AccessEvent.objects.filter(pk=late_id).delete()
    live = opened(FEED_LIST.replace("100", "2"))
    assert live.events() == [last.pk, first.pk]
    AccessEvent.objects.bulk_create(
        [AccessEvent(pk=late_id, action="view", object_type="testapp.poll", username="bob")]
    )
    send(late_id)
    expect(live.items.nth(1)).to_have_attribute("data-event-id", str(late_id))
    assert live.events() == [last.pk, late_id]
    send(first.pk)  # and this is too old for a list of two
    live.settle()
    assert len(live.asked) == 2


def test_a_gap_is_filled(opened, poll, server):
    live = opened()
    server.stop()
    live.page.wait_for_function("() => Pusher.instances[0].connection.state !== 'connected'")
    unheard(poll)
    server.start()
    live.page.clock.fast_forward(15_000)
    expect(live.items).to_have_count(1)


def test_what_is_there_stays_as_it_is(opened, poll, ada):
    old = unheard(poll, username="old")
    live = opened(FEED_LIST + "<aside></aside>")
    live.page.evaluate(
        """() => {
            window.node = document.querySelector("li");
            getSelection().selectAllChildren(node.querySelector("bdi"));
        }"""
    )
    new = record_access(poll, "view", user=ada)
    expect(live.items).to_have_count(2)
    assert live.events() == [new.pk, old.pk]
    assert live.page.evaluate("node.isConnected && getSelection().toString()") == "old"

    # The element may be moved, and goes on; and it may be taken away.
    live.page.evaluate(
        "() => document.querySelector('aside').append(document.querySelector('.pusherable-activity'))"
    )
    last = record_access(poll, "updated", user=ada)
    expect(live.items).to_have_count(3)
    assert live.events()[0] == last.pk
    live.settle()
    live.page.evaluate("() => document.querySelector('.pusherable-activity').remove()")
    live.page.wait_for_function("name => !Pusher.instances[0].channel(name)", arg=FEED)


@pytest.mark.parametrize("how", ["scrolled", "pointed at"])
def test_news_wait_while_somebody_reads(opened, poll, ada, how):
    AccessEvent.objects.bulk_create(
        AccessEvent(action="updated", object_type="testapp.poll", object_repr=str(number))
        for number in range(80)
    )
    live = opened()
    if how == "scrolled":
        live.page.evaluate("scrollTo(0, 200)")
    else:
        live.items.nth(3).hover()
    where = "() => document.querySelectorAll('li')[3].getBoundingClientRect().top"
    before, top = live.events(), live.page.evaluate(where)
    for number in (1, 2):
        record_access(poll, "updated", user=ada)
        expect(live.button).to_have_text(f"New events: {number}")
        live.page.clock.run_for(1_000)
    assert (live.events(), live.page.evaluate(where)) == (before, top)
    live.settle()
    assert live.page.evaluate("said") == ["New events: 1", "New events: 1"]
    live.button.click()
    expect(live.items).to_have_count(82)
    expect(live.items.first).to_be_in_viewport()
    expect(live.items.first).to_be_focused()
    expect(live.button).to_be_hidden()


def test_a_copy_of_the_page_as_htmx_keeps_it(opened, poll, ada):
    """It has the button, but not what it shows."""
    unheard(poll)
    live = opened()
    live.items.first.hover()
    record_access(poll, "updated", user=ada)
    expect(live.button).to_be_visible()
    live.page.mouse.move(0, 0)
    live.page.route(ITEMS, lambda route: route.abort())
    with live.page.expect_event("requestfailed"):
        live.page.evaluate("() => { document.body.innerHTML = document.body.innerHTML; }")
    expect(live.button).to_be_hidden()
    live.page.unroute(ITEMS)
    live.page.clock.fast_forward(11_000)
    expect(live.items).to_have_count(2)
    assert live.page.page_errors() == []


def test_two_languages_on_a_page(opened, poll, ada):
    live = opened(
        SCRIPT + "{% load i18n %}<meta charset=utf-8>"
        "{% language 'de' %}{% pusherable_activity live=True %}{% endlanguage %}"
        "{% language 'en' %}{% pusherable_activity 'testapp.poll' live=True %}{% endlanguage %}"
    )
    moment = dt.datetime(2026, 5, 4, 10, 0, tzinfo=dt.UTC)
    send(unheard(poll, occurred_at=moment).pk)
    expect(live.items).to_have_count(2)
    titles = [time.get_attribute("title") for time in live.page.locator("time").all()]
    assert titles == ["4. Mai 2026 10:00", "May 4, 2026, 10 a.m."]


def test_of_an_object(settings, open_page, write_page, reader, poll, ada):
    """On a public channel, with messages that say more; and without its permission it is quiet."""
    reader.user_permissions.add(Permission.objects.get(codename="view_poll"))
    template = SCRIPT + "{% pusherable_activity object live=True %}"
    live = Live(open_page(reader), write_page(template, object=poll), f"poll_{poll.pk}")
    record_access(poll, "updated", user=ada)
    expect(live.items).to_have_count(1)
    reader.user_permissions.clear()
    with live.page.expect_response(ITEMS) as response:
        record_access(poll, "updated", user=ada)
    assert response.value.status == 403
    live.page.wait_for_function("name => !Pusher.instances[0].channel(name)", arg=f"poll_{poll.pk}")
    assert live.items.count() == 1
    assert live.page.page_errors() == []


def test_a_site_that_does_not_answer_is_asked_again(opened, poll):
    live = opened()
    live.page.route(ITEMS, lambda route: route.abort())
    with live.page.expect_event("requestfailed"):
        send(unheard(poll).pk)
    live.page.unroute(ITEMS)
    live.page.clock.fast_forward(11_000)
    expect(live.items).to_have_count(1)


def test_times_are_relative_and_go_on(settings, open_page, write_page, poll):
    """Also where there are no credentials."""
    settings.PUSHER_KEY = None
    page = open_page()
    now = dt.datetime(2026, 5, 4, 10, 0, tzinfo=dt.UTC)
    page.clock.install(time=now)
    unheard(poll, occurred_at=now - dt.timedelta(minutes=5))
    page.goto(write_page(SCRIPT + "{% pusherable_activity %}"))
    times = page.locator("time")
    expect(times).to_have_text("5 minutes ago")
    assert str(now.year) in times.get_attribute("title")
    page.clock.run_for(61_000)
    expect(times).to_have_text("6 minutes ago")
    page.evaluate("() => { copy = document.body.innerHTML; document.body.innerHTML = ''; }")
    page.clock.run_for(61_000)
    page.evaluate("() => { document.body.innerHTML = copy; }")
    expect(times).to_have_text("7 minutes ago")
    page.clock.run_for(61_000)
    expect(times).to_have_text("8 minutes ago")
    assert str(now.year) in times.get_attribute("title")
