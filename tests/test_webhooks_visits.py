"""What a webhook leaves in the log: who left which object, when, and how long the visit was."""

import datetime as dt
import uuid

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from freezegun import freeze_time

from pusherable.channels import channel_name
from pusherable.models import AccessEvent, Delivery
from pusherable.presence import member_id
from pusherable.recording import record_access
from tests.testapp.models import Document, Page, Poll, Seat
from tests.webhooks import bring, removed, tell, webhook

pytestmark = pytest.mark.django_db

START = dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def _site(settings):
    settings.ROOT_URLCONF = "tests.webhooks"


@pytest.fixture(autouse=True)
def clock():
    with freeze_time(START) as clock:
        yield clock


@pytest.fixture
def ada():
    return User.objects.create_user("ada")


@pytest.fixture
def at(clock, ada, poll):
    """What happens so many seconds after the start: Ada opens a page of the poll, or leaves it."""

    def at(seconds, action, obj=poll, *, editing=False, told=None, user=ada):
        happened = START + dt.timedelta(seconds=seconds)
        clock.move_to(happened)
        if action != "left":
            return record_access(obj, action, user=user)
        body = webhook(departure(obj, user, editing=editing))
        clock.move_to(START + dt.timedelta(seconds=seconds if told is None else told))
        assert bring(body).status_code == 200
        return AccessEvent.objects.newest()[0]

    return at


def departure(obj, user, *, editing=False):
    return removed(channel_name(obj, "presence"), member_id(user, editing=editing))


def duration(event):
    return event.context.get("duration")


def test_the_event_of_a_departure(at, ada, poll):
    at(0, "view")
    event = at(63.25, "left")
    values = {field.name: getattr(event, field.name) for field in event._meta.concrete_fields}
    assert values == {
        "id": event.pk,
        "occurred_at": START + dt.timedelta(seconds=63.25),
        "action": "left",
        "object_type": "testapp.poll",
        "object_pk": str(poll.pk),
        "object_repr": "What's up?",
        "user_pk": str(ada.pk),
        "username": "ada",
        "remote_addr": "",
        "request_id": "",
        "context": {"duration": 63.2, "editing": False},
        "snapshot": {},
        "changes": {},
        "channels": [],
    }
    assert event.status == "not broadcast"
    assert not Delivery.objects.filter(event_id=event.pk).exists()


def test_what_the_project_adds_to_the_context_is_there_too(settings, at):
    settings.PUSHERABLE_CONTEXT = lambda request: {"tenant": "acme", "editing": "?"}
    assert at(1, "left").context == {"tenant": "acme", "editing": False}


# How long


def test_a_reload_and_a_second_tab_belong_to_the_visit(at):
    at(0, "view")
    at(20, "view")
    at(40, "view")
    assert duration(at(43, "left")) == 43
    at(100, "view")
    assert duration(at(103, "left")) == 3


def test_each_visit_has_its_own_duration(at):
    at(0, "view")
    assert duration(at(10, "left")) == 10
    at(100, "view")
    at(110, "view")
    assert duration(at(130, "left")) == 30


def test_from_the_page_to_the_form_and_back(at):
    """Pusher tells of each with some seconds' delay, when the next page is open already."""
    at(0, "view")
    at(60, "update")
    assert duration(at(63, "left")) == 63
    at(120, "updated")
    at(120.5, "view")
    assert duration(at(123, "left", editing=True)) == 63
    assert duration(at(150.5, "left")) == 30


def test_a_visit_with_the_page_and_the_form_open_beside_it(at):
    at(0, "view")
    at(10, "update")
    at(20, "view")
    left = at(50, "left", editing=True)
    assert left.context == {"duration": 40.0, "editing": True}
    assert duration(at(100, "left")) == 100


@pytest.mark.parametrize("editing", [False, True])
def test_unknown_without_a_page_that_was_opened(at, editing):
    for action in ("create", "created", "updated", "delete", "deleted", "printed"):
        at(0, action)
    at(1, "update" if not editing else "view")
    assert at(60, "left", editing=editing).context == {"editing": editing}


def test_unknown_after_a_connection_that_was_interrupted(at):
    """A page that connects again is there without having been opened again."""
    at(0, "view")
    assert duration(at(60, "left")) == 60
    assert duration(at(600, "left")) is None


def test_the_next_page_is_asked_for_before_the_old_one_is_left(at):
    """Pusher does not tell of a reload; other servers do at once, when the next page was opened already."""
    at(0, "view")
    at(30, "view")
    assert duration(at(30.1, "left")) == 30.1
    at(60, "view")
    assert duration(at(60.1, "left")) == 30.1
    assert duration(at(90, "left")) == 30
    at(100, "view")
    assert duration(at(110, "left")) == 10


def test_visits_of_a_moment(at):
    at(0, "view")
    assert duration(at(0.5, "left")) == 0.5
    assert duration(at(60, "left")) is None
    at(100, "view")
    at(100.2, "view")
    assert duration(at(100.7, "left")) == 0.7
    at(200, "view")
    assert duration(at(210, "left")) == 10  # the tab of 100.2 has not been open all the time


def test_other_people_and_other_objects_play_no_part(at, poll):
    other = Poll.objects.create(question="Another", pub_date=START)
    eve = User.objects.create_user("eve")
    document = Document.objects.create(title="Minutes")
    at(0, "view", user=eve)
    at(1, "view", other)
    at(2, "view", document)
    record_access(poll, "view")
    at(10, "view")
    at(20, "left", user=eve)
    at(21, "left", other)
    assert duration(at(40, "left")) == 30


def test_a_webhook_that_arrives_late(at):
    """It happened when Pusher says; what came after it is another visit."""
    at(0, "view")
    at(200, "view")
    late = at(60, "left", told=250)
    assert late.occurred_at == START + dt.timedelta(seconds=60)
    assert duration(late) == 60
    assert duration(at(300, "left")) == 100


def test_webhooks_that_arrive_the_other_way_round(at):
    at(0, "view")
    at(100, "view")
    assert duration(at(160, "left", told=161)) == 160  # of the first visit's end nobody had told yet
    assert duration(at(60, "left", told=200)) == 60


def test_a_clock_of_pushers_that_is_ahead(at):
    at(0, "view")
    event = at(100, "left", told=60)
    assert event.occurred_at == START + dt.timedelta(seconds=60)
    assert duration(event) == 60


def test_a_clock_of_pushers_that_is_behind(at):
    at(10, "view")
    event = at(9, "left", told=12)
    assert duration(event) is None
    assert event.occurred_at == START + dt.timedelta(seconds=9)


@pytest.mark.parametrize(("pages", "expected"), [(999, 60), (1000, None)])
def test_so_many_events_are_looked_at_and_no_more(at, ada, pages, expected):
    at(0, "view")
    other = {"action": "view", "object_type": "testapp.page", "object_pk": "x", "user_pk": str(ada.pk)}
    AccessEvent.objects.bulk_create(AccessEvent(**other, username="ada") for _ in range(pages))
    event = at(60, "left")
    assert duration(event) == expected
    assert event.username == "ada"


# Who, and what


def test_a_user_and_an_object_that_are_gone(at, ada, poll):
    at(0, "view")
    body = webhook(departure(poll, ada))
    ada.delete()
    poll.delete()
    assert bring(body).status_code == 200
    event = AccessEvent.objects.newest()[0]
    assert (event.action, event.username, event.object_repr) == ("left", "ada", "What's up?")
    assert duration(event) == 0


def test_a_user_and_an_object_of_which_nothing_is_known():
    tell(removed("presence-poll_4711", "815"))
    event = AccessEvent.objects.get()
    assert (event.user_pk, event.username) == ("815", "")
    assert (event.object_pk, event.object_repr) == ("4711", "4711")


def test_a_user_who_is_not_in_the_log_yet(at):
    assert at(0, "left").username == "ada"


def test_an_object_is_called_as_it_is_now(at):
    at(0, "view")
    Poll.objects.update(question="What's new?")
    assert at(10, "left").object_repr == "What's new?"


@pytest.mark.parametrize("member", ["x", "%00", "9" * 30, "a" * 300, "\ud800"])
def test_members_that_are_no_users(poll, member):
    tell(removed(channel_name(poll, "presence"), member))
    event = AccessEvent.objects.get()
    assert (event.action, event.username) == ("left", "")
    assert len(event.user_pk) <= 255


KEYS = {
    "uuid": lambda: Document.objects.create(title="Minutes"),
    "text": lambda: Page.objects.create(path="a/b c\u2028é"),
    "composite": lambda: Seat.objects.create(row="A,1", number=2),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("gone", [False, True])
def test_keys_of_every_shape(at, ada, kind, gone):
    obj = KEYS[kind]()
    opened = at(0, "view", obj)
    body = webhook(departure(obj, ada))
    if gone:
        obj.delete()
    assert bring(body).status_code == 200
    left = AccessEvent.objects.newest()[0]
    assert (left.object_type, left.object_pk) == (opened.object_type, opened.object_pk)
    assert left.object_repr == opened.object_repr
    assert duration(left) == 0


@pytest.mark.parametrize("key", [uuid.UUID(int=7), "ada!edit", "a b/ü%"])
def test_users_with_keys_of_every_shape(poll, clock, key):
    class Somebody:
        pk = key
        is_authenticated = True

        def get_username(self):
            return "somebody"

    for editing, action in ((False, "view"), (True, "update")):
        record_access(poll, action, user=Somebody())
        clock.tick(5)
        tell(departure(poll, Somebody(), editing=editing))
        event = AccessEvent.objects.newest()[0]
        assert (event.action, event.user_pk, event.username) == ("left", str(key), "somebody")
        assert event.context == {"duration": 5.0, "editing": editing}


def test_through_the_views(client, clock, ada, poll):
    client.force_login(ada)
    client.get(f"/polls/{poll.pk}/")
    clock.tick(5)
    client.get(f"/polls/{poll.pk}/edit/")
    clock.tick(60)
    client.post(f"/polls/{poll.pk}/edit/", {"question": "?", "pub_date": "2013-08-08"})
    tell(departure(poll, ada, editing=True), departure(poll, ada))
    events = AccessEvent.objects.order_by("pk")
    assert [event.action for event in events] == ["view", "update", "updated", "left", "left"]
    assert [duration(event) for event in events[3:]] == [60, 65]


# What it costs


def queries(body):
    with CaptureQueriesContext(connection) as captured:
        assert bring(body).status_code == 200
    statements = [query["sql"].split()[0] for query in captured]
    return [statement for statement in statements if statement not in {"SAVEPOINT", "RELEASE"}]


def test_what_it_costs(at, ada, poll):
    at(0, "view")
    assert queries(webhook(departure(poll, ada))) == ["SELECT", "INSERT", "SELECT", "INSERT"]


def test_what_many_cost(at, ada, poll):
    """One question for the objects of a model, one for the events of each user."""
    eve = User.objects.create_user("eve")
    polls = [Poll.objects.create(question=f"{number}", pub_date=START) for number in range(10)]
    for user in (ada, eve):
        at(0, "view", user=user)
    departures = [departure(each, user) for each in polls for user in (ada, eve)]
    assert queries(webhook(*departures)) == ["SELECT", "INSERT", "SELECT", "SELECT", *["INSERT"] * 20]


def test_what_a_replay_costs(poll, ada):
    body = webhook(departure(poll, ada))
    bring(body)
    assert len(queries(body)) == 3  # the object, the INSERT that fails, back to the savepoint
