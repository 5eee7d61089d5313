"""From the page that is closed to the row in the log: a real connection, the server, a site that is told."""

import time

import pytest
from django.contrib.auth.models import User
from django.test import Client

from pusherable.models import AccessEvent
from pusherable.server.testing import LocalServer
from tests.server.clients import APP_ID, KEY, SECRET, RawClient, until

CREDENTIALS = {"app_id": APP_ID, "key": KEY, "secret": SECRET}


@pytest.fixture
def site(live_server, settings):
    settings.ROOT_URLCONF = "tests.webhooks"
    url = f"{live_server.url}/pusherable/webhook/"
    with LocalServer(**CREDENTIALS, webhook=url, webhook_delay=0.1) as server:
        yield server


def subscribe(page, browser, channel, **form):
    form |= {"socket_id": page.socket_id, "channel_name": channel}
    answer = browser.post("/pusherable/auth/", form).json()
    page.send("pusher:subscribe", {"channel": channel, **answer})
    assert page.receive()["event"] == "pusher_internal:subscription_succeeded"


def left():
    return list(AccessEvent.objects.filter(action="left"))


@pytest.mark.parametrize("editing", [False, True], ids=["viewing", "editing"])
def test_a_visit_ends_in_the_log(site, poll, editing):
    ada = User.objects.create_superuser("ada")
    browser = Client()
    browser.force_login(ada)
    channel = f"presence-poll_{poll.pk}"
    started = time.monotonic()
    browser.get(f"/polls/{poll.pk}/edit/" if editing else f"/polls/{poll.pk}/")
    with RawClient.connected(site.port) as page:
        subscribe(page, browser, channel, **({"editing": channel} if editing else {}))
    until(left)
    [event] = left()
    assert (event.object_pk, event.user_pk, event.username) == (str(poll.pk), str(ada.pk), "ada")
    assert event.context["editing"] is editing
    assert 0 <= event.context["duration"] <= time.monotonic() - started + 0.1
