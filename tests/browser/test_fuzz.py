"""A hundred hostile values in every tag of one page, and in what arrives live: text, and nothing but text."""

import json
from collections import Counter
from contextlib import ExitStack

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from pusherable.channels import channel_name
from pusherable.presence import channel_data, display_name
from pusherable.recording import record_access
from pusherable.snapshots import clean, object_key
from tests.browser.live import SCRIPT, wait_until_subscribed
from tests.browser.policy import HEADER, strict
from tests.hostile import hundred, in_sentence, parsed
from tests.server.clients import RawClient
from tests.testapp.models import Page, Poll

HOSTILE = hundred()
TURNING = next(number for number, value in enumerate(HOSTILE) if "turned" in value)
HARMLESS = [f"value {number}" for number in range(100)]

TAGS = SCRIPT + (
    "<meta charset=utf-8><title>Fuzz</title><main></main>"
    "{% for object in pages %}{% pusherable_subscribe 'view' object %}{% endfor %}"
    "{% pusherable_viewers room %}{% pusherable_viewers room editing=True %}"
    "{% pusherable_activity limit=100 %}"
)

#: What a page does with what arrives.
NOTIFY = """
    function pusherable_notify(event, data) {
        const item = document.createElement("p");
        item.textContent = data.user;
        document.querySelector("main").append(item);
    }
"""

#: Each element as its name and the names of its attributes.
SHAPES = """
    () => [...document.querySelectorAll("*")].map((element) =>
        [element.localName, ...element.getAttributeNames().sort()].join(" "))
"""

#: The words of the sentences, where they are not names, that do not run from left to right.
TURNED = """
    () => ["pusherable-activity-text", "pusherable-viewers-note", "pusherable-viewers-warning"]
        .flatMap((name) => [...document.getElementsByClassName(name)])
        .flatMap((sentence) => [...sentence.childNodes])
        .filter(({ nodeType }) => nodeType === Node.TEXT_NODE)
        .filter((node) => {
            const range = document.createRange();
            const places = [...node.data].map((_, place) => {
                range.setStart(node, place);
                range.setEnd(node, place + 1);
                return range.getBoundingClientRect();
            }).filter(({ width }) => width);
            return places.some(({ left, top }, place) =>
                place && top === places[place - 1].top && left < places[place - 1].left);
        })
        .map(({ parentNode }) => parentNode.textContent)
"""


def saved(path):
    page = Page(path=path)
    page._state.adding = False
    return page


@pytest.fixture
def enter(server):
    """Lets people join a presence channel: as many as Pusher allows, with the one in the browser."""
    with ExitStack() as stack:

        def enter(channel, users):
            for number, user in enumerate(users):
                client = stack.enter_context(RawClient.connected(server.port))
                client.subscribe(channel, json.loads(channel_data(user, editing=number % 2 == 0)))

        yield enter


@pytest.fixture
def fuzzed(open_page, write_page, enter, poll):
    """An open page with the values in all its tags, and with as many live events and other people."""

    def fuzz(values):
        pages = [saved(value) for value in values]
        # A long key makes no member of a presence channel.
        users = [User(pk=value[:9], username=value, first_name=value) for value in values]
        room = Poll.objects.create(question="Room", pub_date=poll.pub_date)

        def visit_all():
            for page, user in zip(pages, users, strict=True):
                record_access(page, "view", user=user)

        visit_all()
        enter(channel_name(room, "presence"), users[1:])
        open_one = open_page(User.objects.create_superuser(f"me-{room.pk}"))
        policy = f"{strict()}; require-trusted-types-for 'script'; trusted-types 'none'"
        open_one.goto(write_page(TAGS, pages=pages, room=room, script=NOTIFY, headers={HEADER: policy}))
        wait_until_subscribed(open_one, *map(channel_name, pages), channel_name(room, "presence"))
        visit_all()
        record_access(room, "updated", user=users[TURNING], changes={"question": ["Door", "Room"]})
        open_one.wait_for_function("() => received.length === 100")
        expect(open_one.locator("pusherable-changes bdi")).to_have_count(1)
        expect(open_one.locator(".pusherable-viewers-face")).to_have_count(2 * 5)  # four, and "+96"
        return open_one, pages, users

    return fuzz


def texts(page, selector):
    return page.locator(selector).all_text_contents()


def test_hostile_values_are_text(fuzzed):
    page, pages, users = fuzzed(HOSTILE)

    names = [name for value, each in zip(HOSTILE, pages, strict=True) for name in (str(each), value)]
    assert texts(page, ".pusherable-activity bdi") == [parsed(in_sentence(name)) for name in reversed(names)]

    assert sorted(texts(page, "main p")) == sorted(clean(value)[:255] for value in HOSTILE)
    messages = {detail["channel"]: detail["data"] for detail in page.evaluate("received")}
    for value, each in zip(HOSTILE, pages, strict=True):
        message = messages[channel_name(each)]
        path = object_key(each) if message.get("truncated") else clean(value)
        assert message["object"] == {"path": path}

    others = page.evaluate("names => names.map(name => name.trim())", list(map(display_name, users[1:])))
    [me] = User.objects.values_list("username", flat=True)
    assert set(texts(page, ".pusherable-viewers-name:not(pusherable-changes *)")) == {me, *others}

    assert texts(page, "pusherable-changes bdi") == [HOSTILE[TURNING]]

    assert page.evaluate(TURNED) == []
    hostile = Counter(page.evaluate(SHAPES))
    assert page.evaluate("typeof canary") == "undefined"
    assert page.page_errors() == []

    harmless, _, _ = fuzzed(HARMLESS)
    assert hostile == Counter(harmless.evaluate(SHAPES))
