import datetime as dt
import json

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import FieldDoesNotExist
from django.db import connection, transaction
from django.db.models import signals
from django.http import HttpResponse
from django.utils.functional import SimpleLazyObject
from freezegun import freeze_time

from pusherable.models import AccessEvent, Delivery
from pusherable.recording import arecord_access, record_access
from tests.testapp.models import Device, Everything, Page, Poll, Seat, Tag

pytestmark = pytest.mark.django_db


def test_the_event_says_who_did_what_to_which_object_when_and_from_where(poll, request_from):
    request = request_from(REMOTE_ADDR="192.0.2.1", HTTP_USER_AGENT="Test/1.0", HTTP_X_REQUEST_ID="r-1")
    request.user = User.objects.create(pk=5, username="admin")
    with freeze_time("2026-11-22 10:00:00"):
        event = record_access(poll, "view", request=request, extra={"reason": "audit"})

    stored = AccessEvent.objects.values().get()
    assert stored == {
        "id": event.pk,
        "occurred_at": dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC),
        "action": "view",
        "object_type": "testapp.poll",
        "object_pk": str(poll.pk),
        "object_repr": "What's up?",
        "user_pk": "5",
        "username": "admin",
        "remote_addr": "192.0.2.1",
        "request_id": "r-1",
        "context": {"method": "GET", "path": "/polls/1/", "user_agent": "Test/1.0", "reason": "audit"},
        "snapshot": {
            "id": poll.pk,
            "question": "What's up?",
            "pub_date": "2013-08-08T11:16:24Z",
            "date": None,
            "owner": None,
        },
        "changes": {},
        "channels": [f"poll_{poll.pk}"],
    }
    assert {field: getattr(event, field) for field in stored} == stored
    delivery = Delivery.objects.get()
    assert (delivery.event_id, delivery.attempts) == (event.pk, 0)


def test_from_a_shell_there_is_no_request(poll):
    event = record_access(poll, "view", user=User(pk=5, username="cron"))
    assert (event.username, event.remote_addr, event.request_id, event.context) == ("cron", "", "", {})
    assert record_access(poll, "view").username == ""


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (AnonymousUser(), ("", "")),
        (SimpleLazyObject(lambda: User(pk=5, username="admin")), ("5", "admin")),
        (Device(pk=6, serial="D-1"), ("6", "D-1")),
    ],
)
def test_the_user_of_the_request(poll, request_from, user, expected):
    request = request_from()
    assert record_access(poll, "view", request=request).username == ""  # no middleware sets it
    request.user = user
    event = record_access(poll, "view", request=request)
    assert (event.user_pk, event.username) == expected
    assert record_access(poll, "view", request=request, user=User(pk=9, username="other")).username == "other"


def test_an_access_to_no_object_yet(sent):
    event = record_access(Poll, "create")
    event.refresh_from_db()
    assert (event.object_type, event.object_pk, event.object_repr) == ("testapp.poll", "", "")
    assert (event.snapshot, event.channels, event.status) == ({}, [], "not broadcast")
    assert record_access(Poll(question="?"), "create").channels == []


def test_the_snapshot_is_chosen(poll):
    assert record_access(poll, "view", fields="question").snapshot == {"question": "What's up?"}
    assert "owner" not in record_access(poll, "view", exclude=["owner"]).snapshot
    assert record_access(poll, "view", snapshot={"a": 1}).snapshot == {"a": 1}
    assert record_access(poll, "view", snapshot={}).snapshot == {}
    with pytest.raises(FieldDoesNotExist):
        record_access(poll, "view", fields="qestion")


def test_secrets_are_taken_out_of_whatever_is_passed(poll, settings):
    settings.PUSHERABLE_REDACT = ["ssn", "testapp.poll.question"]
    event = record_access(
        poll,
        "updated",
        snapshot={"a": {"password": "hunter2", "b": 1}, "apiKey": "hunter2", "question": "hunter2"},
        changes={
            "password": ["hunter1", "hunter2"],
            "question": ["hunter2", None],
            "json": [{"ssn": 1}, {"b": 2}],
        },
        extra={"auth": {"token": "hunter2", "method": "basic"}},
    )
    event.refresh_from_db()
    assert event.snapshot == {"a": {"b": 1}}
    assert event.changes == {
        "password": ["[redacted]", "[redacted]"],
        "question": ["[redacted]", "[redacted]"],
        "json": [{}, {"b": 2}],
    }
    assert event.context == {"auth": {"method": "basic"}}
    assert "hunter2" not in json.dumps(AccessEvent.objects.values().get(), default=str)


def test_what_the_project_adds_to_every_event_is_kept_as_it_is(poll, settings):
    settings.PUSHERABLE_CONTEXT = lambda request: {"tenant": "acme", "token": 17}
    event = record_access(poll, "view", extra={"format": "pdf"})
    event.refresh_from_db()
    assert event.context == {"tenant": "acme", "token": 17, "format": "pdf"}


@pytest.mark.parametrize("channel", ["", "a b", "a/b", "x" * 165, "é"])
def test_a_channel_that_pusher_refuses_is_an_error(channel, poll):
    with pytest.raises(ValueError, match=f"{channel!r} is no name of a channel"):
        record_access(poll, "view", channels=["fine", channel])
    assert not AccessEvent.objects.exists()


@pytest.mark.parametrize("action", ["", "x" * 51])
def test_an_action_that_cannot_be_stored_is_an_error(action, poll):
    with pytest.raises(ValueError, match=f"{action!r} is no action: write a word of 1 to 50 characters"):
        record_access(poll, action)
    assert not AccessEvent.objects.exists()


def test_channels_are_chosen(poll):
    assert record_access(poll, "view", channels=["private-a", "b"]).channels == ["private-a", "b"]
    assert record_access(poll, "view", channels="polls").channels == ["polls"]
    event = record_access(poll, "view", channels=[])
    assert event.channels == []
    assert not Delivery.objects.filter(pk=event.pk).exists()


def test_without_credentials_it_is_a_log_only(poll, settings, woken, django_capture_on_commit_callbacks):
    del settings.PUSHERABLE_TRANSPORT
    settings.PUSHER_KEY = ""
    with django_capture_on_commit_callbacks(execute=True):
        event = record_access(poll, "view", channels=["a"])
    assert (event.channels, event.status) == ([], "not broadcast")
    assert not Delivery.objects.exists()
    assert woken == []


class Broken:
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("question", "expected"),
    [("x" * 300, "x" * 255), ("a\0b\ud800", "a\ufffdb?"), (Broken(), "poll 7"), ("", "")],
    ids=["long", "hostile", "raises", "empty"],
)
def test_how_an_object_is_called(question, expected):
    event = record_access(Poll(pk=7, question=question), "view", fields="id")
    event.refresh_from_db()
    assert event.object_repr == expected


def test_an_object_without_a_name_and_with_a_long_key(monkeypatch):
    monkeypatch.setattr(Page, "__str__", Broken.__str__)
    event = record_access(Page(pk="\0" + "x" * 1000), "view")
    event.refresh_from_db()
    assert len(event.object_repr) == len(event.object_pk) == 255
    assert len(event.channels[0]) <= 164


@pytest.mark.parametrize("make", [lambda: SimpleLazyObject(Poll.objects.get), lambda: Seat(pk=("A", 1))])
def test_lazy_objects_and_composite_keys(poll, make):
    obj = make()
    event = record_access(obj, "view")
    assert list(AccessEvent.objects.of_object(obj)) == [event]


def test_nothing_is_read_a_second_time(poll, django_assert_num_queries, request_from):
    tag = Tag.objects.create(name="a")
    obj = Everything.objects.create(poll=poll)
    obj.tags.add(tag)
    obj = Everything.objects.get()
    request = request_from()
    request.user = User.objects.create(username="admin")
    rows = 1 if connection.vendor == "postgresql" else 2
    with django_assert_num_queries(rows):
        record_access(poll, "view", request=request)
    with django_assert_num_queries(rows + 1):  # the many-to-many field
        record_access(obj, "view", request=request)
    with django_assert_num_queries(1):
        record_access(poll, "view", request=request, channels=[])


@pytest.mark.django_db(transaction=True)
def test_the_statements_of_an_access_outside_of_a_transaction(poll, woken, django_assert_num_queries):
    # PostgreSQL takes both rows in one statement; elsewhere there are two, and BEGIN and COMMIT around them.
    with django_assert_num_queries(1 if connection.vendor == "postgresql" else 4):
        record_access(poll, "view")
    assert woken == ["default"]


def test_nothing_listens_to_the_signals_of_models(poll):
    for signal in (signals.pre_save, signals.post_save, signals.pre_delete, signals.post_delete):
        assert not any(signal._live_receivers(model)[0] for model in (Poll, AccessEvent, Delivery))


@pytest.mark.django_db(transaction=True)
def test_the_message_leaves_after_the_commit(poll, sent):
    with transaction.atomic():
        event = record_access(poll, "view", user=User(pk=1, username="admin"))
        assert sent == []
    ((channel, name, data),) = sent
    assert (channel, name) == (f"poll_{poll.pk}", "view")
    assert json.loads(data)["event_id"] == event.pk
    assert json.loads(data)["user"] == "admin"
    assert not Delivery.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_is_rolled_back_leaves_no_row_and_no_message(poll, sent):
    with transaction.atomic():
        record_access(poll, "view")
        transaction.set_rollback(True)
    assert not AccessEvent.objects.exists()
    assert not Delivery.objects.exists()
    assert sent == []


@pytest.mark.django_db(transaction=True)
def test_a_broken_dispatcher_does_not_break_the_request(poll, settings, caplog):
    settings.PUSHERABLE_DISPATCHER = {"BACKEND": "nowhere.Found"}
    called = []
    with transaction.atomic():
        record_access(poll, "view")
        transaction.on_commit(lambda: called.append(True))
    assert called == [True]
    assert Delivery.objects.count() == 1
    assert "nowhere.Found" in caplog.text


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_another_database_for_the_log(poll, woken):
    with transaction.atomic():
        event = record_access(poll, "view", using="log")
        assert woken == ["log"]  # its transaction is not the one of the default database
    assert AccessEvent.objects.using("log").get().pk == event.pk
    assert Delivery.objects.using("log").get().event_id == event.pk
    assert AccessEvent.objects.using("log").get().status == "pending"
    assert not AccessEvent.objects.exists()
    assert event._state.db == "log"


class LogApart:
    def db_for_read(self, model, **hints):
        return "log" if model._meta.app_label == "pusherable" else None

    db_for_write = db_for_read


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_the_router_chooses_the_database(poll, sent, settings):
    settings.DATABASE_ROUTERS = [LogApart()]
    event = record_access(poll, "view")
    assert AccessEvent.objects.using("log").get().pk == event.pk
    assert AccessEvent.objects.get().status == "delivered"
    assert len(sent) == 1


def show(request, pk):
    poll = Poll.objects.get(pk=pk)
    record_access(poll, "view", request=request)
    return HttpResponse(poll.question)


async def ashow(request, pk):
    poll = await Poll.objects.aget(pk=pk)
    await arecord_access(poll, "view", request=request, extra={"async": True})
    return HttpResponse(poll.question)


@pytest.mark.django_db(transaction=True)
def test_from_a_function_view(admin_client, poll, serve, sent):
    serve(show)
    assert admin_client.get(f"/{poll.pk}/").status_code == 200
    assert AccessEvent.objects.get().username == "admin"
    assert len(sent) == 1


@pytest.mark.django_db(transaction=True)
def test_from_an_async_view(admin_user, async_client, poll, serve, sent):
    serve(ashow)

    async def visit():
        await async_client.aforce_login(admin_user)
        return await async_client.get(f"/{poll.pk}/")

    assert async_to_sync(visit)().status_code == 200
    event = AccessEvent.objects.get()
    assert (event.username, event.context["async"], event.status) == ("admin", True, "delivered")
    assert len(sent) == 1


@pytest.mark.parametrize("path", ["/%00", "/%FF%FE", "/" + "x" * 5000, "/%ED%A0%80", "/\U0001f600"])
def test_a_hostile_address(client, poll, serve, path):
    def view(request, pk=None):
        record_access(poll, "view", request=request)
        return HttpResponse()

    serve(view)
    assert client.get(path + "/", HTTP_USER_AGENT="\xff\0" + "x" * 9000).status_code == 200
    assert len(AccessEvent.objects.get().context["path"]) <= 2000
