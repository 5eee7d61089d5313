"""The endpoint that pusher-js asks: who may subscribe, and what everybody else is told."""

import base64
import json

import pytest
from django.test import Client, override_settings
from django.urls import include, path
from django.views.generic import DetailView, UpdateView
from hypothesis import given
from hypothesis import strategies as st
from nacl.secret import SecretBox

from pusherable.authorization import broadcast_models
from pusherable.channels import PREFIXES
from pusherable.encryption import encrypted
from pusherable.mixins import PusherDetailMixin, PusherUpdateMixin
from pusherable.server.protocol import Credentials
from tests.listeners import BACKENDS, MASTER_KEY, ROLES, TARGETS, channel, is_allowed, member, user_with
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


pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _site(settings):
    settings.ROOT_URLCONF = __name__
    settings.AUTHENTICATION_BACKENDS = BACKENDS
    settings.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 = MASTER_KEY


def logged_in(user, **options):
    client = Client(**options)
    if user is not None:
        client.force_login(user)
    return client


def ask(user_or_client, **data):
    client = user_or_client if isinstance(user_or_client, Client) else logged_in(user_or_client)
    return client.post("/pusherable/auth/", {"socket_id": SOCKET} | data)


def refusals(caplog):
    return [each.getMessage() for each in caplog.records if each.name == "pusherable.authorization"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", PREFIXES)
@pytest.mark.parametrize("role", ROLES)
def test_who_may_listen_to_what(role, kind, target, poll, caplog):
    name, user = channel(kind, target, poll), user_with(role, poll)
    response = ask(user, channel_name=name)
    if target == "malformed name":
        assert (response.status_code, refusals(caplog)) == (400, [])
        assert repr(name) in response.text
    elif not is_allowed(role, kind, target):
        assert (response.status_code, response.content) == (403, b"No.")
        [message] = refusals(caplog)
        assert name in message
    else:
        assert (response.status_code, refusals(caplog)) == (200, [])
        answer = response.json()
        data = answer.pop("channel_data", None)
        if kind == "presence":
            assert json.loads(data) == member(user)
        assert answer.pop("auth") == CREDENTIALS.channel_auth(SOCKET, name, data)
        if kind == "private-encrypted":
            box = SecretBox(base64.b64decode(answer.pop("shared_secret")))
            sealed = json.loads(encrypted(name, "Hello."))
            text = box.decrypt(*(base64.b64decode(sealed[part]) for part in ("ciphertext", "nonce")))
            assert text == b"Hello."
        assert answer == {}


def test_an_object_that_does_not_exist_takes_the_same_work(poll, django_assert_num_queries):
    client = logged_in(user_with("without permission", poll))
    ask(client, channel_name=f"private-poll_{poll.pk}")  # content types are read once
    for name in (f"private-poll_{poll.pk}", "private-poll_99999"):
        # Session, user, object; permissions of the user and of groups, for the model and for the object.
        with django_assert_num_queries(7):
            assert ask(client, channel_name=name).status_code == 403


def test_many_channels_in_one_request(poll, django_assert_num_queries):
    polls = [poll, *(Poll.objects.create(question=f"{n}", pub_date=poll.pub_date) for n in range(20))]
    names = [f"private-poll_{each.pk}" for each in polls] + ["private-poll_0", "private-place_1"]
    client = logged_in(user_with("with model permission", poll))
    with django_assert_num_queries(5):  # session, user, objects, and the user's permissions, once for all
        response = ask(client, channel_names=names)
    assert response.status_code == 200
    answers = response.json()
    assert [name for name in names if answers[name] is None] == names[-2:]
    assert answers[names[3]] == {"auth": CREDENTIALS.channel_auth(SOCKET, names[3])}


def test_what_is_no_name_does_not_spoil_the_others(poll, admin_user, caplog):
    name, long = f"private-poll_{poll.pk}", "x" * 100_000
    answers = ask(admin_user, channel_names=[name, "a name\n", long]).json()
    assert (bool(answers[name]), answers["a name\n"], answers[long]) == (True, None, None)
    assert len(caplog.text) < 1_000


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
        {"channel_names": [f"private-poll_{n}" for n in range(101)]},
        *(
            {"channel_name": "private-poll_1", "socket_id": bad}
            for bad in ("", "1", "1.", "1.2.3", "a.b", "1.2\n", "\u0661.1")
        ),
    ],
)
def test_what_cannot_be_is_a_bad_request(data, admin_user):
    assert ask(admin_user, **data).status_code == 400


names = st.one_of(
    st.text(),
    st.from_regex(r"(private-|presence-|private-encrypted-)?(poll|page|place)_[^ ]{0,200}", fullmatch=True),
    st.from_regex(r"(private|presence)-(poll|page)_(=[0-9A-F]{2}|[0-9;,.@-]){0,30}", fullmatch=True),
)


@given(
    socket_id=st.just(SOCKET) | st.text(), names=st.lists(names, max_size=5), editing=names, one=st.booleans()
)
def test_whatever_is_asked_is_answered(admin_client, socket_id, names, editing, one):
    asked = {"channel_name": names[0]} if one and names else {"channel_names": names}
    response = ask(admin_client, socket_id=socket_id, editing=editing, **asked)
    assert response.status_code in {200, 400, 403}


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_only_forms_are_taken(admin_client, content_type):
    assert admin_client.post("/pusherable/auth/", b"{}", content_type=content_type).status_code == 400


@pytest.mark.parametrize("method", ["get", "put", "delete", "head"])
def test_only_post(admin_client, method):
    assert getattr(admin_client, method)("/pusherable/auth/").status_code == 405


def test_it_is_protected_from_other_sites(poll, admin_user):
    client = logged_in(admin_user, enforce_csrf_checks=True)
    assert ask(client, channel_name=f"private-poll_{poll.pk}").status_code == 403


def test_a_site_that_demands_a_login_everywhere_still_answers_itself(poll, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert ask(None, channel_name=f"private-poll_{poll.pk}").status_code == 403


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


def test_who_edits_is_a_member_of_their_own(poll, admin_user):
    name = f"presence-poll_{poll.pk}"
    admin_user.first_name = "Ada"
    admin_user.save()
    for editing, suffix in ((name, "!edit"), ("presence-poll_99999", "")):
        answer = ask(admin_user, channel_name=name, editing=[editing]).json()
        assert json.loads(answer["channel_data"]) == member(admin_user, suffix)
        assert answer["auth"] == CREDENTIALS.channel_auth(SOCKET, name, answer["channel_data"])


def test_a_visitor_without_a_name_is_nobodys_neighbour(settings, poll):
    settings.PUSHERABLE_CAN_SUBSCRIBE = lambda user, obj, channel: True
    assert ask(None, channel_name=f"private-poll_{poll.pk}").status_code == 200
    for editing in ([], [f"presence-poll_{poll.pk}"]):
        assert ask(None, channel_name=f"presence-poll_{poll.pk}", editing=editing).status_code == 403


@pytest.mark.parametrize("key", [None, "c2hvcnQ="])
def test_without_its_key_an_encrypted_channel_has_no_listeners(settings, poll, admin_user, caplog, key):
    settings.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 = key
    assert ask(admin_user, channel_name=f"private-encrypted-poll_{poll.pk}").status_code == 403
    assert "PUSHER_ENCRYPTION_MASTER_KEY_BASE64" in refusals(caplog)[0]
    assert "c2hvcnQ" not in caplog.text


def test_models_that_are_broadcast(monkeypatch):
    assert broadcast_models() == [Page, Poll]
    monkeypatch.setattr(Seat, "pusher_channel_kind", "private", raising=False)
    assert broadcast_models() == [Page, Poll, Seat]
    with override_settings(ROOT_URLCONF="tests.urls"):
        assert broadcast_models() == [Seat]
    assert Document not in broadcast_models()
