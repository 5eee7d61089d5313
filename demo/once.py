"""Visit the running demo as both people, and show each row of the log beside the message received for it.

`run.py --once` starts this with the environment's interpreter, a fresh database and both servers up. It ends
with an error if the log is not what the visits must give, or if a message is missing.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys

import aiohttp
import django
from django.conf import settings
from django.forms import model_to_dict
from django.urls import reverse

django.setup()

from newsroom.models import Article  # noqa: E402

from pusherable.channels import FEED, channel_name  # noqa: E402
from pusherable.models import AccessEvent  # noqa: E402

EXPECTED = [
    ("view", "Mira"),
    ("view", "Jonas"),
    ("update", "Jonas"),
    ("updated", "Jonas"),
    ("view", "Jonas"),
    ("create", "Mira"),
    ("created", "Mira"),
    ("view", "Mira"),
    ("view", "Jonas"),
    ("delete", "Jonas"),
    ("deleted", "Jonas"),
]


class Person:
    """A person at the site: what a browser does, without the browser."""

    def __init__(self, name):
        self.name = name

    async def __aenter__(self):
        # An address made of numbers has cookies only where the jar is told to be lenient.
        jar = aiohttp.CookieJar(unsafe=True)
        self.session = aiohttp.ClientSession(os.environ["DEMO_SITE"], cookie_jar=jar, raise_for_status=True)
        await self.get("/sign-in/")
        await self.submit("/sign-in/", person=self.name)
        return self

    async def __aexit__(self, *error):
        await self.session.close()

    async def get(self, path):
        await (await self.session.get(path)).read()

    async def post(self, path, **form):
        cookies = {cookie.key: cookie.value for cookie in self.session.cookie_jar}
        form["csrfmiddlewaretoken"] = cookies["csrftoken"]
        async with self.session.post(path, data=form) as response:
            await response.read()
        return response

    async def submit(self, path, **form):
        """Post a form, as the page would; where it was accepted one is sent on, and follows."""
        response = await self.post(path, **form)
        if not response.history:
            raise SystemExit(f"{self.name} could not post the form at {path}:\n{await response.text()}")


class Page:
    """What a person's open page hears: private channels, for which it asks the site as pusher-js does."""

    def __init__(self, person, socket, socket_id):
        self.person, self.socket, self.socket_id = person, socket, socket_id
        self.joined = {}  # by channel, the last event before
        self.messages = {}  # by event

    @classmethod
    async def opened(cls, person, socket):
        established = await socket.receive_json()
        return cls(person, socket, json.loads(established["data"])["socket_id"])

    async def join(self, obj):
        channel = channel_name(obj)
        path = reverse("pusherable:auth")
        answer = await self.person.post(path, socket_id=self.socket_id, channel_name=channel)
        data = {"channel": channel, **await answer.json()}
        await self.socket.send_json({"event": "pusher:subscribe", "data": data})
        while channel not in self.joined:
            await self.read()

    async def read(self):
        message = await self.socket.receive_json()
        event, channel, data = message["event"], message["channel"], json.loads(message["data"])
        if event == "pusher_internal:subscription_succeeded":
            last = await AccessEvent.objects.order_by("pk").alast()
            self.joined[channel] = last.pk if last else 0
        elif data["event_id"] > self.joined[channel]:
            self.messages[data["event_id"]] = (event, channel, data["user"])

    def hears(self, event):
        return any(event.pk > self.joined[channel] for channel in channels_of(event))


async def visit(mira, jonas, page):
    """The visits that give EXPECTED."""
    article, doomed = [article async for article in Article.objects.order_by("pk")[:2]]
    form = model_to_dict(article, exclude=["id"])
    await page.join(article)
    await page.join(doomed)
    await mira.get(f"/articles/{article.pk}/")
    await jonas.get(f"/articles/{article.pk}/")
    await jonas.get(f"/articles/{article.pk}/edit/")
    await jonas.submit(f"/articles/{article.pk}/edit/", **form | {"status": "published"})
    await mira.get("/articles/new/")
    await mira.submit("/articles/new/", **form | {"headline": "Harbour wall: the committee decides"})
    new = await Article.objects.alatest("pk")
    await page.join(new)  # not sooner: the site lets nobody listen to an article that does not exist
    await jonas.get(f"/articles/{new.pk}/")
    await jonas.get(f"/articles/{doomed.pk}/delete/")
    await jonas.submit(f"/articles/{doomed.pk}/delete/")


async def receive(page, seconds):
    """Listen until all that the page can hear has come, or the time is up; the log."""
    log = [event async for event in AccessEvent.objects.order_by("pk")]
    audible = {event.pk for event in log if page.hears(event)}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not audible <= page.messages.keys():
                await page.read()
    return log


def channels_of(event):
    """Those of its object; the feed has no more than its id."""
    return [channel for channel in event.channels if channel != FEED]


def show(log, page):
    """Print the table, and return the events whose message is missing or another's."""
    line = "{:>4}  {:<8}  {:<19}  {:<6}  {}".format
    print(line("id", "action", "object", "user", "message received"))
    print(line("-" * 4, "-" * 8, "-" * 19, "-" * 6, "-" * 37))
    missing = []
    for event in log:
        channels = channels_of(event)
        if not channels:
            received = "not broadcast"
        elif not page.hears(event):
            received = "before anybody could listen"
        elif page.messages.get(event.pk) == (event.action, *channels, event.username):
            received = "{} on {}, by {}".format(*page.messages[event.pk])
        else:
            received = f"MISSING on {channels[0]}"
            missing.append(event)
        target = f"{event.object_type} {event.object_pk}"
        print(line(event.pk, event.action, target, event.username, received))
    print(f"\n{len(log)} rows, {len(page.messages)} messages, {len(missing)} missing.")
    return missing


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--wait", type=float, default=10, help="seconds to wait for the messages")
    arguments = parser.parse_args()
    url = f"ws://{settings.PUSHER_HOST}:{settings.PUSHER_PORT}/app/{settings.PUSHER_KEY}?protocol=7"
    async with (
        Person("Mira") as mira,
        Person("Jonas") as jonas,
        aiohttp.ClientSession() as session,
        session.ws_connect(url) as socket,
    ):
        page = await Page.opened(mira, socket)
        await visit(mira, jonas, page)
        log = await receive(page, arguments.wait)
    missing = show(log, page)
    written = [(event.action, event.username) for event in log]
    if written != EXPECTED:
        print(f"The log is not what the visits must give: {EXPECTED}")
    return 0 if written == EXPECTED and not missing else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
