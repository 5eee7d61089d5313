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

EXPECTED = [
    ("view", "Mira"),
    ("view", "Jonas"),
    ("update", "Jonas"),
    ("updated", "Jonas"),
    ("view", "Jonas"),
    ("create", "Mira"),
    ("created", "Mira"),
    ("view", "Mira"),
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
        await self.post("/sign-in/", person=self.name)
        return self

    async def __aexit__(self, *error):
        await self.session.close()

    async def get(self, path):
        await (await self.session.get(path)).read()

    async def post(self, path, **form):
        """Post a form, as the page would; where it was accepted one is sent on, and follows."""
        cookies = {cookie.key: cookie.value for cookie in self.session.cookie_jar}
        form["csrfmiddlewaretoken"] = cookies["csrftoken"]
        async with self.session.post(path, data=form) as response:
            page = await response.text()
        if not response.history:
            raise SystemExit(f"{self.name} could not post the form at {path}:\n{page}")


async def visit(article, doomed):
    """The visits that give EXPECTED."""
    form = model_to_dict(article, exclude=["id"])
    async with Person("Mira") as mira, Person("Jonas") as jonas:
        await mira.get(f"/articles/{article.pk}/")
        await jonas.get(f"/articles/{article.pk}/")
        await jonas.get(f"/articles/{article.pk}/edit/")
        await jonas.post(f"/articles/{article.pk}/edit/", **form | {"status": "published"})
        await mira.get("/articles/new/")
        await mira.post("/articles/new/", **form | {"headline": "Harbour wall: the committee decides"})
        await jonas.get(f"/articles/{doomed.pk}/delete/")
        await jonas.post(f"/articles/{doomed.pk}/delete/")


async def subscribe(socket, channels):
    for channel in channels:
        await socket.send_json({"event": "pusher:subscribe", "data": {"channel": channel}})
    waiting = set(channels)
    async for frame in socket:
        message = frame.json()
        if message["event"] == "pusher_internal:subscription_succeeded":
            waiting.discard(message["channel"])
            if not waiting:
                return
    raise SystemExit("The Pusher server closed the connection.")


async def receive(socket, events, seconds):
    """The messages by event id, once there is one for each of the events or the time is up."""
    missing, messages = {event.pk for event in events}, {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while missing:
                message = await socket.receive_json()
                data = json.loads(message["data"])
                messages[data["event_id"]] = (message["event"], message["channel"], data["user"])
                missing.discard(data["event_id"])
    return messages


def show(log, messages):
    """Print the table, and return the events whose message is missing or another's."""
    line = "{:>4}  {:<8}  {:<19}  {:<6}  {}".format
    print(line("id", "action", "object", "user", "message received"))
    print(line("-" * 4, "-" * 8, "-" * 19, "-" * 6, "-" * 34))
    missing = []
    for event in log:
        if not event.channels:
            received = "not broadcast"
        elif messages.get(event.pk) == (event.action, *event.channels, event.username):
            received = "{} on {}, by {}".format(*messages[event.pk])
        else:
            received = f"MISSING on {event.channels[0]}"
            missing.append(event)
        target = f"{event.object_type} {event.object_pk}"
        print(line(event.pk, event.action, target, event.username, received))
    print(f"\n{len(log)} rows, {len(messages)} messages, {len(missing)} missing.")
    return missing


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--wait", type=float, default=10, help="seconds to wait for the messages")
    arguments = parser.parse_args()
    django.setup()
    from newsroom.models import Article

    from pusherable.channels import channel_name
    from pusherable.models import AccessEvent

    article, doomed = [article async for article in Article.objects.order_by("pk")[:2]]
    last = await Article.objects.order_by("pk").alast()
    # Ids are handed out in order, so the channel of the article to be created is known before there is one.
    channels = [channel_name(each) for each in (article, doomed, Article(pk=last.pk + 1))]
    url = f"ws://{settings.PUSHER_HOST}:{settings.PUSHER_PORT}/app/{settings.PUSHER_KEY}?protocol=7"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await subscribe(socket, channels)
        await visit(article, doomed)
        log = [event async for event in AccessEvent.objects.order_by("pk")]
        messages = await receive(socket, [event for event in log if event.channels], arguments.wait)
    missing = show(log, messages)
    written = [(event.action, event.username) for event in log]
    if written != EXPECTED:
        print(f"The log is not what the visits must give: {EXPECTED}")
    return 0 if written == EXPECTED and not missing else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
