"""The endpoint that pusher-js asks: who may subscribe, and what everybody else is told."""

import pytest
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings
from django.urls import include, path
from django.views.generic import DetailView, UpdateView

from pusherable.authorization import broadcast_models
from pusherable.mixins import PusherDetailMixin, PusherUpdateMixin
from pusherable.server.protocol import Credentials
from tests.testapp.models import Document, Page, Place, Poll, Seat

SOCKET = "123.456"
CREDENTIALS = Credentials("4242", "test-key", "test-secret")


class PollDetail(PusherDetailMixin, DetailView):
    model = Poll


class PageUpdate(PusherUpdateMixin, UpdateView):
    queryset = Page.objects.all()
    fields = ("path",)


class PlaceDetail(DetailView):
    """Broadcasts nothing."""

    model = Place


urlpatterns = [
    path("pusherable/", include("pusherable.urls")),
    path("polls/<pk>/", PollDetail.as_view()),
    path("more/", include([path("pages/<pk>/", PageUpdate.as_view())])),
    path("places/<pk>/", PlaceDetail.as_view()),
]


class OfObjects(BaseBackend):
    """Permissions for single objects, as django-guardian has them; the user's name tells for which."""

    def has_perm(self, user_obj, perm, obj=None):
        return obj is not None and perm == "testapp.view_poll" and user_obj.username == f"reader of {obj.pk}"


pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _site(settings):
    settings.ROOT_URLCONF = __name__
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", f"{__name__}.OfObjects"]


def user_of(role, poll):
    if role == "anonymous":
        return None
    user = User.objects.create_user(f"reader of {poll.pk}" if role == "reader of the object" else role)
    if role in {"viewer", "inactive"}:
        user.user_permissions.add(Permission.objects.get(codename="view_poll"))
    user.is_staff, user.is_superuser = role in {"staff", "superuser"}, role == "superuser"
    user.is_active = role != "inactive"
    user.save()
    return user


def logged_in(user, **options):
    client = Client(**options)
    if user is not None:
        client.force_login(user)
    return client


def ask(user_or_client, **data):
    client = user_or_client if isinstance(user_or_client, Client) else logged_in(user_or_client)
    return client.post("/pusherable/auth/", {"socket_id": SOCKET} | data)


ALLOWED = {"viewer", "reader of the object", "superuser"}
ROLES = ["anonymous", "nobody", "staff", "inactive", *sorted(ALLOWED)]
CHANNELS = {
    "existing": "private-poll_{pk}",
    "missing": "private-poll_99999",
    "too large": "private-poll_99999999999999999999999",
    "another model": "private-place_1",
    "unknown model": "private-nothing_1",
    "not canonical": "private-poll_0{pk}",
    "public": "poll_{pk}",
    "another kind": "presence-poll_{pk}",
    "encrypted": "private-encrypted-poll_{pk}",
}


@pytest.mark.parametrize("channel", CHANNELS.values(), ids=CHANNELS)
@pytest.mark.parametrize("role", ROLES)
def test_who_may_listen_to_what(role, channel, poll, caplog):
    name = channel.format(pk=poll.pk)
    user = user_of(role, poll)
    response = ask(user, channel_name=name)
    messages = [each.getMessage() for each in caplog.records if each.name == "pusherable.authorization"]
    if role in ALLOWED and channel == CHANNELS["existing"]:
        assert response.status_code == 200
        assert response.json() == {"auth": CREDENTIALS.channel_auth(SOCKET, name)}
        assert messages == []
    else:
        assert (response.status_code, response.content) == (403, b"No.")
        [message] = messages
        assert name in message


def test_the_same_work_is_done_for_an_object_that_does_not_exist(poll, django_assert_num_queries):
    client = logged_in(user_of("nobody", poll))
    for name in (f"private-poll_{poll.pk}", "private-poll_99999"):
        with django_assert_num_queries(5):  # session, user, the object, permissions of the user and of groups
            assert ask(client, channel_name=name).status_code == 403


def test_many_channels_in_one_request(poll, django_assert_num_queries):
    polls = [poll, *(Poll.objects.create(question=f"{n}", pub_date=poll.pub_date) for n in range(20))]
    names = [f"private-poll_{each.pk}" for each in polls] + ["private-poll_0", "private-place_1"]
    client = logged_in(user_of("viewer", poll))
    with django_assert_num_queries(5):
        response = ask(client, channel_names=names)
    assert response.status_code == 200
    answers = response.json()
    assert [name for name in names if answers[name] is None] == names[-2:]
    assert answers[names[3]] == {"auth": CREDENTIALS.channel_auth(SOCKET, names[3])}


def test_keys_of_every_shape(django_user_model):
    page = Page.objects.create(path="a/b c\u2028é")
    admin = django_user_model.objects.create_superuser("admin")
    assert ask(admin, channel_name="private-page_a=2Fb=20c=E2=80=A8=C3=A9").status_code == 200
    assert ask(admin, channel_name="private-page_a=00b").status_code == 403
    assert page.pk == "a/b c\u2028é"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"channel_name": ""},
        {"channel_name": "private poll"},
        {"channel_name": "x" * 165},
        {"channel_name": "private-poll_1\n"},
        {"channel_name": "private-poll_\u0661"},
        {"channel_names": []},
        {"channel_names": ["private-poll_1", "?"]},
        {"channel_names": [f"private-poll_{n}" for n in range(101)]},
        *(
            {"channel_name": "private-poll_1", "socket_id": bad}
            for bad in ("", "1", "1.", "1.2.3", "a.b", "1.2\n", "\u0661.1")
        ),
    ],
)
def test_what_cannot_be_is_a_bad_request(data, admin_user):
    assert ask(admin_user, **data).status_code == 400


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_only_forms_are_taken(admin_client, content_type):
    assert admin_client.post("/pusherable/auth/", b"{}", content_type=content_type).status_code == 400


@pytest.mark.parametrize("method", ["get", "put", "delete", "head"])
def test_only_post(admin_client, method):
    assert getattr(admin_client, method)("/pusherable/auth/").status_code == 405


def test_it_is_protected_from_other_sites(poll, admin_user):
    client = logged_in(admin_user, enforce_csrf_checks=True)
    assert ask(client, channel_name=f"private-poll_{poll.pk}").status_code == 403


def test_answers_are_not_cached(poll, admin_user):
    response = ask(admin_user, channel_name=f"private-poll_{poll.pk}")
    assert "no-store" in response["Cache-Control"]


def only_its_owner(user, obj, channel):
    return isinstance(obj, Poll) and obj.owner_id == user.pk


@pytest.mark.parametrize("function", [only_its_owner, f"{__name__}.only_its_owner"], ids=["function", "path"])
def test_a_rule_of_the_projects_own(settings, poll, admin_user, function):
    settings.PUSHERABLE_CAN_SUBSCRIBE = function
    name = f"private-poll_{poll.pk}"
    assert ask(admin_user, channel_name=name).status_code == 403
    Poll.objects.update(owner=admin_user)
    assert ask(admin_user, channel_name=name).status_code == 200


def test_models_that_are_broadcast(monkeypatch):
    assert broadcast_models() == [Page, Poll]
    monkeypatch.setattr(Seat, "pusher_channel_kind", "private", raising=False)
    assert broadcast_models() == [Page, Poll, Seat]
    with override_settings(ROOT_URLCONF="tests.urls"):
        assert broadcast_models() == [Seat]
    assert Document not in broadcast_models()
