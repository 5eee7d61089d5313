"""The feed: the channel on which every event is told of, by its id and no more, to who may read the log."""

import json

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import include, path

from pusherable.channels import FEED, PREFIXES, channel_name
from pusherable.delivery.messages import messages
from pusherable.models import AccessEvent, Delivery
from pusherable.recording import record_access, record_event
from pusherable.server.protocol import Credentials
from tests.listeners import BACKENDS, ROLES, user_with
from tests.test_checks import assert_found
from tests.testapp.models import Page, Poll

SOCKET = "123.456"
CREDENTIALS = Credentials("4242", "test-key", "test-secret")
NAME = FEED.removeprefix(PREFIXES["private"])

urlpatterns = [path("pusherable/", include("pusherable.urls"))]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _feed(settings):
    settings.PUSHERABLE_FEED = True
    settings.ROOT_URLCONF = __name__
    settings.AUTHENTICATION_BACKENDS = BACKENDS


def stored(event):
    return AccessEvent.objects.get(pk=event.pk).channels


# What is sent


@pytest.mark.parametrize("action", ["view", "updated", "printed"])
def test_the_feed_hears_no_more_than_that_there_is_an_event(
    poll, sent, action, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        event = record_access(poll, action, channels=["poll_1"])
    assert stored(event) == ["poll_1", FEED]
    [own, feed] = sent
    assert (own.channel, json.loads(own.data)["object"]["question"]) == ("poll_1", "What's up?")
    assert (feed.channel, feed.name, feed.data) == (FEED, action, f'{{"event_id":{event.pk}}}')


def test_a_replay_says_so(poll):
    event = record_access(poll, "view")
    delivery = Delivery.of(event, replayed=True)
    delivery.event = event
    [_, feed] = messages(delivery)
    assert json.loads(feed.data) == {"event_id": event.pk, "replayed": True}


def test_events_without_a_channel_of_their_own(poll):
    assert stored(record_access(Poll, "create")) == [FEED]
    assert stored(record_access(poll, "view", channels=[])) == [FEED]
    assert stored(record_event(AccessEvent(action="left", object_type="testapp.poll"), "default")) == [FEED]
    assert Delivery.objects.count() == 3


def test_who_reads_the_log_does_not_make_it_move(poll):
    event = record_access(poll, "view")
    assert stored(record_access(AccessEvent, "search", channels=[])) == []
    assert stored(record_access(event, "view", channels=[])) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"PUSHERABLE_FEED": False},
        {
            "PUSHER_KEY": None,
            "PUSHERABLE_TRANSPORT": {"BACKEND": "pusherable.delivery.transports.PusherTransport"},
        },
    ],
    ids=["off", "nothing is broadcast"],
)
def test_without_it_nothing_is_sent(settings, poll, changes):
    for name, value in changes.items():
        setattr(settings, name, value)
    assert FEED not in stored(record_access(poll, "view"))


@pytest.mark.parametrize("template", ["{model_name}_{pk}", "{model_name}{pk}", "{model_name}.{pk}"])
def test_no_object_has_its_name(settings, template):
    settings.PUSHERABLE_CHANNEL_FORMAT = template
    for key in (";feed", "usherable;feed", "x" * 500, ";feed" * 100):
        name = channel_name(Page(path=key), "private")
        assert name.rpartition(";")[2] != "feed"


# Who may listen


def reader(role, poll):
    user = user_with("inactive" if role == "inactive reader" else "without permission", poll)
    user.user_permissions.add(Permission.objects.get(codename="view_accessevent"))
    return user


def logged_in(user):
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def ask(client, *names):
    return client.post("/pusherable/auth/", {"socket_id": SOCKET, "channel_names": names}).json()


@pytest.mark.parametrize("kind", PREFIXES)
@pytest.mark.parametrize("role", [*ROLES, "reader", "inactive reader"])
def test_who_may_listen(role, kind, poll, caplog):
    name, user = PREFIXES[kind] + NAME, reader(role, poll) if "reader" in role else user_with(role, poll)
    answer = ask(logged_in(user), name)[name]
    if kind == "private" and role in {"reader", "superuser"}:
        assert answer == {"auth": CREDENTIALS.channel_auth(SOCKET, FEED)}
        assert caplog.messages == []
    else:
        assert answer is None
        [message] = caplog.messages
        assert name in message


def test_one_channel_of_many(settings, poll, django_assert_num_queries):
    settings.ROOT_URLCONF = "tests.test_authorization"
    settings.AUTHENTICATION_BACKENDS = BACKENDS[:1]
    user, name = reader("reader", poll), f"private-poll_{poll.pk}"
    user.user_permissions.add(Permission.objects.get(codename="view_poll"))
    client = logged_in(user)
    with django_assert_num_queries(5):  # session, user, object, and the user's permissions, once for both
        answers = ask(client, FEED, name, "private-poll_0")
    assert [bool(answers[each]) for each in (FEED, name, "private-poll_0")] == [True, True, False]


def test_where_it_is_off_nobody_listens(settings, poll):
    settings.PUSHERABLE_FEED = False
    assert ask(logged_in(reader("reader", poll)), FEED) == {FEED: None}


# Checks


@pytest.mark.parametrize("wrong", ["true", 1, None])
def test_a_wrong_value(wrong):
    assert_found("E024", "PUSHERABLE_FEED = True", PUSHERABLE_FEED=wrong, ROOT_URLCONF=__name__)


def test_somebody_has_to_be_able_to_ask():
    assert_found("W004", 'include("pusherable.urls")', ROOT_URLCONF="tests.urls")
