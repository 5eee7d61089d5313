"""What a page leaves in the log and sends, through real requests."""

import json

import pytest
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured, PermissionDenied
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.utils.functional import SimpleLazyObject

from pusherable.models import AccessEvent
from tests.testapp.models import Device, Poll, PollProxy, Seat
from tests.testapp.views import PollCreate, PollDelete, PollDetail, PollUpdate

pytestmark = pytest.mark.django_db


def actions():
    return list(AccessEvent.objects.order_by("id").values_list("action", flat=True))


@pytest.mark.parametrize(
    ("view", "action"), [(PollDetail, "view"), (PollUpdate, "update"), (PollDelete, "delete")]
)
def test_opening_a_page_is_an_event(view, action, admin_client, poll, serve):
    serve(view)
    response = admin_client.get(f"/{poll.pk}/", REMOTE_ADDR="192.0.2.1")
    assert "What&#x27;s up?" in response.text
    event = AccessEvent.objects.get()
    assert (event.action, event.object_type, event.object_pk) == (action, "testapp.poll", str(poll.pk))
    assert (event.username, event.remote_addr) == ("admin", "192.0.2.1")
    assert event.context["path"] == f"/{poll.pk}/"
    assert event.channels == [f"poll_{poll.pk}"]
    assert event.changes == {}


def test_the_page_of_a_create_form_is_an_event_of_the_model(admin_client, serve):
    serve(PollCreate)
    assert admin_client.get("/").status_code == 200
    event = AccessEvent.objects.get()
    assert (event.action, event.object_type, event.object_pk) == ("create", "testapp.poll", "")
    assert (event.username, event.channels, event.snapshot) == ("admin", [], {})


@pytest.mark.django_db(transaction=True)
def test_the_message_is_that_of_the_readme(admin_client, poll, serve, settings, sent):
    settings.USE_TZ = False
    Poll.objects.update(pub_date="2013-08-08 11:16:24")
    serve(PollUpdate)
    admin_client.get(f"/{poll.pk}/")
    ((channel, name, data),) = sent
    message = json.loads(data)
    assert (channel, name) == (f"poll_{poll.pk}", "update")
    readme = {"question": "What's up?", "pub_date": "2013-08-08T11:16:24", "id": poll.pk}
    assert message["object"].items() >= readme.items()
    assert message["user"] == "admin"


def test_a_visitor_without_an_account(client, poll, serve):
    serve(PollDetail)
    client.get(f"/{poll.pk}/")
    assert AccessEvent.objects.get().username == ""


def test_a_user_without_a_username(client, poll, serve):
    class Detail(PollDetail):
        def dispatch(self, request, *args, **kwargs):
            request.user = Device(pk=3, serial="D-1")
            return super().dispatch(request, *args, **kwargs)

    serve(Detail)
    client.get(f"/{poll.pk}/")
    assert AccessEvent.objects.get().username == "D-1"


def test_a_page_that_is_not_there_or_not_allowed_is_no_access(client, poll, serve):
    class Forbidden(PollDetail):
        def get_object(self, queryset=None):
            raise PermissionDenied

    serve(PollDetail)
    assert client.get("/0/").status_code == 404
    serve(Forbidden)
    assert client.get(f"/{poll.pk}/").status_code == 403
    assert actions() == []


def test_a_page_that_fails_in_rendering_was_accessed(poll, serve):
    class Detail(PollDetail):
        template_name = "missing.html"

    serve(Detail)
    assert Client(raise_request_exception=False).get(f"/{poll.pk}/").status_code == 500
    assert actions() == ["view"]


@pytest.mark.parametrize("name", ["pusher_include_model_fields", "pusher_exclude_model_fields"])
@pytest.mark.parametrize("value", ["pub_date", ["pub_date"], ("pub_date",), {"pub_date": 1}.keys()])
def test_the_fields_of_the_snapshot_are_chosen(client, poll, serve, name, value):
    serve(type("Detail", (PollDetail,), {name: value}))
    client.get(f"/{poll.pk}/")
    shown = {"pub_date"} if "include" in name else {"id", "question", "date", "owner"}
    assert set(AccessEvent.objects.get().snapshot) == shown


@pytest.mark.parametrize("name", ["pusher_include_model_fields", "pusher_exclude_model_fields"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_unknown_field_is_told(client, poll, serve, name, method):
    serve(type("Update", (PollUpdate,), {name: "pub"}))
    with pytest.raises(
        FieldDoesNotExist, match="Poll has no field named 'pub' to record; it has id, question"
    ):
        getattr(client, method)(f"/{poll.pk}/", {"question": "New?", "pub_date": "2026-11-22"})
    assert Poll.objects.get().question == "What's up?"


def test_the_kind_of_channel(client, poll, serve):
    serve(type("Detail", (PollDetail,), {"pusher_channel_kind": "private"}))
    client.get(f"/{poll.pk}/")
    assert AccessEvent.objects.get().channels == [f"private-poll_{poll.pk}"]

    serve(type("Detail", (PollDetail,), {"pusher_channel_kind": "secret"}))
    with pytest.raises(ImproperlyConfigured, match="'secret' is not a kind of channel"):
        client.get(f"/{poll.pk}/")


def test_event_name_snapshot_and_channels_can_be_overridden(client, poll, serve):
    class Detail(PollDetail):
        pusher_event_name = "inspect"

        def get_pusher_snapshot(self, obj):
            return {"title": obj.question, "password": "hunter2"}

        def get_pusher_channels(self, obj):
            return ["polls", *super().get_pusher_channels(obj)]

    serve(Detail)
    client.get(f"/{poll.pk}/")
    event = AccessEvent.objects.get()
    assert (event.action, event.snapshot) == ("inspect", {"title": "What's up?"})
    assert event.channels == ["polls", f"poll_{poll.pk}"]


@pytest.mark.parametrize("channels", [[], ()])
def test_a_view_may_not_broadcast(client, poll, serve, channels):
    serve(type("Detail", (PollDetail,), {"get_pusher_channels": lambda self, obj: channels}))
    client.get(f"/{poll.pk}/")
    assert AccessEvent.objects.get().status == "not broadcast"


def test_one_channel_needs_no_list(client, poll, serve):
    serve(type("Detail", (PollDetail,), {"get_pusher_channels": lambda self, obj: "polls"}))
    client.get(f"/{poll.pk}/")
    assert AccessEvent.objects.get().channels == ["polls"]


@pytest.mark.parametrize(
    "get_object",
    [
        lambda self, queryset=None: Poll.objects.get(),
        lambda self, queryset=None: PollProxy.objects.get(),
        lambda self, queryset=None: SimpleLazyObject(Poll.objects.get),
        lambda self, queryset=None: Poll.objects.only("question").get(),
    ],
    ids=["own", "proxy", "lazy", "deferred"],
)
@pytest.mark.parametrize("view", [PollDetail, PollUpdate, PollDelete])
def test_a_view_may_get_its_object_itself(client, poll, serve, view, get_object):
    serve(type("View", (view,), {"get_object": get_object}))
    client.get(f"/{poll.pk}/")
    event = AccessEvent.objects.get()
    assert (event.object_type, event.object_pk) == ("testapp.poll", str(poll.pk))
    assert event.snapshot["question"] == "What's up?"


def test_a_composite_key(client, serve):
    seat = Seat.objects.create(row="A", number=1)
    view = {"model": Seat, "get_object": lambda self, queryset=None: Seat.objects.get()}
    serve(type("Detail", (PollDetail,), view))
    client.get("/")
    assert AccessEvent.objects.of_object(seat).get().channels == ["seat_A,1"]


def test_the_page_reads_object_session_and_user_once(admin_client, poll, serve, django_assert_num_queries):
    serve(PollDetail)
    written = 1 if connection.vendor == "postgresql" else 2
    with django_assert_num_queries(1 + 2 + written):  # object, session and user, event and delivery
        admin_client.get(f"/{poll.pk}/")


@pytest.mark.django_db(transaction=True)
def test_under_atomic_requests(client, poll, serve, sent, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    sent_in_view = []

    class Detail(PollDetail):
        def get(self, request, *args, **kwargs):
            response = super().get(request, *args, **kwargs)
            sent_in_view.extend(sent)
            return response

    class Refused(PollDetail):
        def get(self, request, *args, **kwargs):
            super().get(request, *args, **kwargs)
            raise PermissionDenied

    serve(Detail)
    client.get(f"/{poll.pk}/")
    assert (actions(), sent_in_view, len(sent)) == (["view"], [], 1)
    serve(Refused)
    assert client.get(f"/{poll.pk}/").status_code == 403
    assert (actions(), len(sent)) == (["view"], 1)


def test_a_view_with_a_rendering_of_its_own(client, poll, serve):
    class Detail(PollDetail):
        def get_context_data(self, **kwargs):
            return super().get_context_data(extra=1, **kwargs)

        def render_to_response(self, context, **kwargs):
            super().render_to_response(context, **kwargs)
            return HttpResponse("plain")

    serve(Detail)
    assert client.get(f"/{poll.pk}/").text == "plain"
    assert actions() == ["view"]
