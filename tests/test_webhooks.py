"""The endpoint that Pusher tells: who may, and what can be a webhook."""

import json

import pytest
from django.test import Client
from django.utils import timezone
from freezegun import freeze_time
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pusherable.models import AccessEvent, Webhook
from tests.webhooks import URL, bring, removed, signature, tell, webhook

pytestmark = pytest.mark.django_db

PRESENCE = "presence-poll_1"
LEFT = removed(PRESENCE, "5")


@pytest.fixture(autouse=True)
def _site(settings):
    settings.ROOT_URLCONF = "tests.webhooks"


def recorded():
    return list(AccessEvent.objects.order_by("pk").values_list("action", "object_pk", "user_pk"))


# Who may tell us anything


@pytest.mark.parametrize("method", ["get", "put", "delete", "head", "patch"])
def test_only_post(method):
    response = getattr(Client(), method)(URL)
    assert (response.status_code, response["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "headers",
    [
        {"key": None},
        {"signature": None},
        {"key": None, "signature": None},
        {"key": ""},
        {"signature": ""},
        {"key": "another-key"},
        {"key": "tést-key"},
        {"signature": "é" * 64},
        {"signature": "0" * 64},
        {"signature": signature(b"another body")},
        {"signature": signature(webhook(LEFT), secret="another-secret")},
    ],
)
def test_whoever_is_not_pusher_is_refused(headers):
    response = bring(webhook(LEFT), **headers)
    assert response.status_code == 401
    assert "test-secret" not in response.text
    assert recorded() == []


@pytest.mark.parametrize("missing", ["PUSHER_APP_ID", "PUSHER_KEY", "PUSHER_SECRET"])
def test_without_credentials_nobody_is_pusher(settings, missing):
    setattr(settings, missing, None)
    body = webhook(LEFT)
    for key, secret in [("", ""), ("None", "None"), ("test-key", "None"), ("test-key", "test-secret")]:
        assert bring(body, key=key, signature=signature(body, secret)).status_code == 401


def test_a_body_that_was_changed_on_the_way_is_refused():
    body = webhook(LEFT)
    changed = body.replace(b'"5"', b'"6"')
    assert bring(changed, signature=signature(body)).status_code == 401


def test_pusher_needs_neither_a_csrf_token_nor_an_account(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    tell(LEFT)
    assert len(recorded()) == 1


def test_the_answer_is_not_cached():
    assert "no-store" in bring(webhook(LEFT))["Cache-Control"]


# What can be a webhook


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"time_ms": ' + b"1" * 5000 + b', "events": []}', "not JSON"),
        (b"null", "time_ms"),
        (b"[]", "time_ms"),
        (b'{"events": []}', "time_ms"),
        (b'{"time_ms": "NOW", "events": []}', "time_ms"),
        (b'{"time_ms": true, "events": []}', "time_ms"),
        (b'{"time_ms": NOW.5, "events": []}', "time_ms"),
        (b'{"time_ms": NaN, "events": []}', "time_ms"),
        (b'{"time_ms": 0, "events": []}', "300 seconds"),
        (b'{"time_ms": -NOW, "events": []}', "300 seconds"),
        (b'{"time_ms": 1' + b"0" * 400 + b', "events": []}', "300 seconds"),
        (b'{"time_ms": NOW}', "events"),
        (b'{"time_ms": NOW, "events": {}}', "events"),
        (b'{"time_ms": NOW, "events": [null]}', "name"),
        (b'{"time_ms": NOW, "events": [{}]}', "name"),
        (b'{"time_ms": NOW, "events": [{"name": 1}]}', "name"),
        (b'{"time_ms": NOW, "events": [{"name": "member_removed"}]}', "a channel and a user_id"),
        (
            b'{"time_ms": NOW, "events": [{"name": "member_removed", "channel": 1, "user_id": "5"}]}',
            "a channel and a user_id",
        ),
        (
            b'{"time_ms": NOW, "events": [{"name": "member_removed", "channel": "x", "user_id": null}]}',
            "a channel and a user_id",
        ),
    ],
    ids=lambda value: repr(value)[:70],
)
def test_what_cannot_be_is_a_bad_request(body, problem):
    body = body.replace(b"NOW", str(round(timezone.now().timestamp() * 1000)).encode())
    response = bring(body)
    assert response.status_code == 400
    assert problem in response.text
    assert response["Content-Type"] == "text/plain; charset=utf-8"


def test_one_wrong_event_and_none_is_recorded():
    assert bring(webhook(LEFT, {"name": "member_removed"})).status_code == 400
    assert recorded() == []


@pytest.mark.parametrize("tz", ["with time zones", "without time zones"])
@pytest.mark.parametrize(
    ("ago", "status"), [(0, 200), (299, 200), (301, 400), (-299, 200), (-301, 400), (86400, 400)]
)
def test_it_is_at_most_five_minutes_from_now(settings, ago, status, tz):
    settings.USE_TZ = tz == "with time zones"
    with freeze_time("2026-11-22 10:00:00"):
        assert bring(webhook(LEFT, ago=ago)).status_code == status
    assert len(recorded()) == (status == 200)


def test_a_body_that_is_too_large_is_a_bad_request(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert bring(webhook(*[LEFT] * 100)).status_code == 400
    assert recorded() == []


@pytest.mark.parametrize(
    "event",
    [
        {"name": "channel_vacated", "channel": PRESENCE},
        {"name": "member_added", "channel": PRESENCE, "user_id": "5"},
        {"name": "something_new"},
        removed("presence-place_1", "5"),
        removed("presence-nothing_1", "5"),
        removed("presence-poll_01", "5"),
        removed("presence-poll_", "5"),
        removed("private-poll_1", "5"),
        removed("poll_1", "5"),
        removed("", "5"),
        removed(PRESENCE, ""),
        removed(PRESENCE, "!edit"),
    ],
)
def test_what_is_not_ours_is_accepted_and_ignored(event):
    tell(event)
    assert recorded() == []
    assert not Webhook.objects.exists()


def test_several_at_once():
    tell(LEFT, {"name": "channel_vacated", "channel": PRESENCE}, removed("presence-poll_2", "6"), LEFT)
    assert recorded() == [("left", "1", "5"), ("left", "2", "6")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
channels = st.sampled_from([PRESENCE, "presence-page_=00", "presence-seat_a,1", "presence-poll_" + "9" * 50])
channels |= st.text().map("presence-page_{}".format)
members = st.text() | st.integers() | st.sampled_from(["5!edit", "%00", "%FF", "\ud800", "a" * 1000])
events = st.builds(removed, channels | json_values, members | json_values) | json_values
fuzz = hypothesis_settings(max_examples=300)


@fuzz
@given(st.lists(events, max_size=4) | json_values, st.integers(-1, 1) | json_values)
def test_no_signed_body_is_too_much_for_it(events, ago):
    if type(ago) is int and ago in (-1, 0, 1):
        ago = round(timezone.now().timestamp() * 1000) + ago
    body = json.dumps({"time_ms": ago, "events": events}).encode()
    assert bring(body).status_code in {200, 400}


@fuzz
@given(st.binary(), st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_no_other_body_and_no_headers_are_too_much_for_it(body, key, given):
    assert bring(body, key=key, signature=given).status_code == 401
    assert bring(body).status_code == 400
