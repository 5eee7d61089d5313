"""Encrypted channels, end to end: the page reads what neither Pusher nor anybody on the way can."""

import pytest
from django.contrib.auth.models import Permission

from tests.browser import urls
from tests.browser.live import SCRIPT, wait_for_event, wait_until_subscribed
from tests.listeners import MASTER_KEY


@pytest.fixture(autouse=True)
def _encrypted(settings, server, monkeypatch):
    settings.PUSHERABLE_CHANNELS = "private-encrypted"
    settings.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 = MASTER_KEY
    monkeypatch.setattr(urls, "PUSHER_JS", urls.PUSHER_JS.with_name("pusher-with-encryption.min.js"))


@pytest.fixture
def reader(ada, open_page, write_page, poll):
    """Ada's page, and every frame that it was sent."""
    ada.user_permissions.add(Permission.objects.get(codename="view_poll"))
    page, frames = open_page(ada), []

    def keep(frame):
        frames.append(frame)

    page.on("websocket", lambda socket: socket.on("framereceived", keep))
    page.goto(write_page(SCRIPT + "{% pusherable_subscribe 'update' object %}", object=poll))
    wait_until_subscribed(page, f"private-encrypted-poll_{poll.pk}")
    return page, frames


def test_the_page_reads_it_and_nobody_on_the_way_does(reader, open_page, poll, server):
    page, frames = reader
    open_page().goto(f"/polls/{poll.pk}/update/")
    [detail] = wait_for_event(page, "update")
    assert detail["channel"] == f"private-encrypted-poll_{poll.pk}"
    assert detail["data"]["object"]["question"] == "What's up?"
    [captured] = server.messages
    assert set(captured.data.split('"')) >= {"nonce", "ciphertext"}
    seen = [request.body.decode() for request in server.requests] + [str(frame) for frame in frames]
    assert len(seen) > 1
    assert any("ciphertext" in text for text in seen)
    assert not any("What's up?" in text or "question" in text for text in seen)


def test_a_new_key_is_asked_for_where_the_old_one_no_longer_fits(reader, settings, open_page, poll):
    """As when the setting has changed: pusher-js asks the site again by itself."""
    page, _ = reader
    settings.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 = MASTER_KEY[::-1].removeprefix("=") + "="
    with page.expect_response("**/pusherable/auth/"):
        open_page().goto(f"/polls/{poll.pk}/update/")
    [detail] = wait_for_event(page, "update")
    assert detail["data"]["object"]["question"] == "What's up?"
