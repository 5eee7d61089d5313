"""From a view in one browser to `pusherable_notify` and `pusherable:event` in another."""

from django.utils import timezone

from tests.browser.live import SCRIPT, subscribe, wait_for_event, wait_until_subscribed
from tests.server.clients import http_client
from tests.testapp.models import Poll

README_EXAMPLE = """
    function pusherable_notify(event, data) {
        alert(data.user + "has begun to " + event + " " + data.model);
    }
"""


def test_example_of_the_readme(open_page, write_page, poll, ada):
    """Word for word as version 0.2.0 documented it."""
    reader = open_page()
    reader.goto(
        write_page(SCRIPT + "{% pusherable_subscribe 'update' object %}", object=poll, script=README_EXAMPLE)
    )
    wait_until_subscribed(reader, f"poll_{poll.pk}")
    writer = open_page(ada)
    with reader.expect_event("dialog") as shown:
        writer.goto(f"/polls/{poll.pk}/update/")
    assert shown.value.message == "adahas begun to update poll"
    shown.value.accept()


def test_saving_reaches_the_document_as_an_event(open_page, write_page, poll, ada):
    reader, writer = open_page(), open_page(ada)
    reader.goto(write_page(SCRIPT + "{% pusherable_subscribe 'update' 'updated' object %}", object=poll))
    wait_until_subscribed(reader, f"poll_{poll.pk}")
    writer.goto(f"/polls/{poll.pk}/update/")
    writer.get_by_role("textbox").fill("Who's there?")
    writer.get_by_role("button").click()
    opened, saved = wait_for_event(reader, "updated")
    assert (opened["event"], opened["data"]["object"]["question"]) == ("update", "What's up?")
    assert saved["channel"] == f"poll_{poll.pk}"
    assert saved["data"]["user"] == "ada"
    assert saved["data"]["object"]["question"] == "Who's there?"
    assert saved["data"]["changed"] == ["question"]


def test_many_tags_share_one_connection(open_page, write_page, server, poll):
    second = Poll.objects.create(question="And you?", pub_date=timezone.now())
    page = open_page()
    sockets = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(
        write_page(
            SCRIPT
            + "{% pusherable_subscribe 'update' 'updated' poll %}{% pusherable_subscribe 'view' poll %}"
            + "{% pusherable_subscribe 'view' 'last' second %}",
            poll=poll,
            second=second,
        )
    )
    one, two = f"poll_{poll.pk}", f"poll_{second.pk}"
    wait_until_subscribed(page, one, two)
    for channel, event in [
        *((one, "update"), (one, "delete"), (one, "view"), (one, "updated")),
        *((two, "update"), (two, "view"), (two, "last")),
    ]:
        http_client(server.port).trigger(channel, event, {})
    received = [(detail["channel"], detail["event"]) for detail in wait_for_event(page, "last")]
    assert received == [
        *((one, "update"), (one, "view"), (one, "updated")),
        *((two, "view"), (two, "last")),
    ]
    assert len(sockets) == 1


def test_duplicates_are_dropped(open_page, write_page, server):
    page = open_page()
    page.goto(write_page(SCRIPT + subscribe("poll_1", "update last")))
    wait_until_subscribed(page, "poll_1")
    for data in ({"event_id": 7}, {"event_id": 7}, {"event_id": 8}, {"event_id": 7}, {}, {}, "text", "null"):
        http_client(server.port).trigger("poll_1", "update", data)
    http_client(server.port).trigger("poll_1", "last", {})
    received = [detail["data"] for detail in wait_for_event(page, "last")]
    assert received == [{"event_id": 7}, {"event_id": 8}, {}, {}, "text", None, {}]


def test_an_error_of_the_page_stops_nothing_else(open_page, write_page, server):
    page = open_page()
    page.goto(
        write_page(
            SCRIPT + subscribe("poll_1", "update") * 2,
            script="const pusherable_notify = () => { throw Error('of the page'); }",
        )
    )
    wait_until_subscribed(page, "poll_1")
    http_client(server.port).trigger("poll_1", "update", {})
    page.wait_for_function("() => received.length === 2")
    assert [error.message for error in page.page_errors()] == ["of the page"] * 2


def test_the_scripts_may_run_twice(open_page, write_page, server):
    """As where a fragment that is swapped in brings the tags along."""
    page = open_page()
    page.goto(write_page(SCRIPT + subscribe("poll_1", "update last")))
    wait_until_subscribed(page, "poll_1")
    page.evaluate("""
        () => Promise.all([...document.scripts].map((script) => new Promise((loaded) => {
            const again = document.createElement("script");
            for (const { name, value } of script.attributes) again.setAttribute(name, value);
            again.onload = loaded;
            script.replaceWith(again);
        })))
    """)
    http_client(server.port).trigger("poll_1", "update", {})
    http_client(server.port).trigger("poll_1", "last", {})
    assert len(wait_for_event(page, "last")) == 2
    assert page.page_errors() == []


def test_pusher_js_may_come_after_the_script(open_page, write_page, server):
    page = open_page()
    page.goto(
        write_page(
            "{% load pusherable_tags %}{% pusherable_script pusher_js=False %}"
            "<script type='module' src='/pusher.js'></script>" + subscribe("poll_1", "last")
        )
    )
    wait_until_subscribed(page, "poll_1")
    http_client(server.port).trigger("poll_1", "last", {})
    wait_for_event(page, "last")
    assert page.console_messages() == []
