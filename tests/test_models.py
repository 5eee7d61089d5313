import datetime as dt

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.db.models.deletion import Collector
from django.utils import timezone

from pusherable.models import AccessEvent, Delivery
from pusherable.recording import record_access
from tests.testapp.models import Document, Page, Poll, PollProxy, Seat

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "write", [record_access, lambda obj, action: AccessEvent.objects.create(action=action)]
)
def test_an_event_is_written_once(poll, write):
    event = write(poll, "view")
    with pytest.raises(TypeError, match="written once"):
        event.save()
    stored = AccessEvent.objects.get()
    stored.action = "deleted"
    with pytest.raises(TypeError, match="written once"):
        stored.save()
    assert AccessEvent.objects.get().action == "view"


def test_how_they_are_called(poll):
    event = record_access(poll, "view", user=User(pk=1, username="admin"))
    assert str(event) == f"admin view testapp.poll {poll.pk}"
    assert str(record_access(Poll, "create")).startswith("- create testapp.poll")
    assert str(Delivery.objects.get()) == f"event {event.pk}, attempts: 0"


def test_the_status_follows_the_delivery(poll):
    record_access(poll, "view")

    def status():
        return AccessEvent.objects.get().status

    assert status() == "pending"
    Delivery.objects.update(failed_at=timezone.now())
    assert status() == "failed"
    Delivery.objects.all().delete()
    assert status() == "delivered"


def test_an_event_without_channel_is_not_broadcast(poll):
    record_access(poll, "view", channels=[])
    assert AccessEvent.objects.get().status == "not broadcast"


def test_the_status_is_read_again_with_the_event(poll):
    event = record_access(poll, "view")
    assert event.status == "pending"
    Delivery.objects.all().delete()
    event.refresh_from_db()
    assert event.status == "delivered"


def test_the_status_of_a_list_costs_no_query_with_the_delivery_joined(poll, django_assert_num_queries):
    for _ in range(3):
        record_access(poll, "view")
    Delivery.objects.all()[:1].get().delete()
    with django_assert_num_queries(1):
        events = AccessEvent.objects.select_related("delivery")
        assert sorted(event.status for event in events) == ["delivered", "pending", "pending"]


def test_events_are_found_by_object_model_and_user(poll):
    admin = User.objects.create(pk=1, username="admin")
    other = Poll.objects.create(question="?", pub_date=timezone.now())
    page = Page(pk=str(poll.pk))
    first = record_access(poll, "view", user=admin)
    second = record_access(other, "view")
    third = record_access(page, "view", user=admin)
    fourth = record_access(PollProxy.objects.get(pk=poll.pk), "update")

    events = AccessEvent.objects.newest()
    assert list(events) == [fourth, third, second, first]
    assert list(events.of_object(poll)) == [fourth, first]
    assert list(events.of_object(PollProxy(pk=poll.pk))) == [fourth, first]
    assert list(events.of_object(page)) == [third]
    assert list(events.of_model(Poll)) == list(events.of_model(PollProxy)) == [fourth, second, first]
    assert list(events.by_user(admin)) == [third, first]
    assert list(events.by_user(admin).of_model(Poll)) == [first]


@pytest.mark.parametrize("nobody", [AnonymousUser(), User()])
def test_nobody_has_no_events(poll, nobody):
    record_access(poll, "view")
    assert not AccessEvent.objects.by_user(nobody).exists()


@pytest.mark.parametrize("obj", [Page(pk="x" * 300 + "a"), Seat(pk=("row", 1)), Page(pk="a\0b")])
def test_every_kind_of_key_finds_its_events(obj):
    event = record_access(obj, "view")
    record_access(Page(pk="x" * 300 + "b"), "view")
    assert list(AccessEvent.objects.of_object(obj)) == [event]
    assert len(AccessEvent.objects.get(pk=event.pk).object_pk) <= 255


def test_deleting_object_and_user_leaves_the_event(poll):
    admin = User.objects.create(username="admin")
    record_access(poll, "view", user=admin)
    before = AccessEvent.objects.values().get()
    poll.delete()
    admin.delete()
    assert AccessEvent.objects.values().get() == before


def plan_of(queryset, index):
    if connection.vendor == "postgresql":
        # For a table as small as this, other ways are as good, and which is best depends on what other tests
        # have rolled back. So there is this index, or reading and sorting everything.
        others = [f"pusherable_{name}" for name in ("object", "type", "user", "action", "time")]
        others.remove(index)
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX {', '.join(others)}")
            cursor.execute("ALTER TABLE pusherable_accessevent DROP CONSTRAINT pusherable_accessevent_pkey")
            cursor.execute("ANALYZE pusherable_accessevent")
            for other_way in ("seqscan", "bitmapscan", "sort"):
                cursor.execute(f"SET LOCAL enable_{other_way} = off")
    return queryset.explain(**({"format": "JSON"} if connection.vendor != "sqlite" else {}))


@pytest.mark.parametrize(
    ("index", "narrow"),
    [
        ("pusherable_object", lambda events: events.of_object(Poll(pk=7))),
        ("pusherable_object", lambda events: events.of_object(Poll(pk=7)).filter(id__lt=2**40)),
        ("pusherable_user", lambda events: events.by_user(User(pk=7))),
        ("pusherable_action", lambda events: events.filter(action="view7")),
        ("pusherable_type", lambda events: events.of_model(Poll)),
        ("pusherable_time", lambda events: events.order_by().filter(occurred_at__lt=timezone.now())),
    ],
    ids=["object", "object, next page", "user", "action", "model", "time"],
)
def test_lists_are_backed_by_an_index(index, narrow):
    AccessEvent.objects.bulk_create(
        AccessEvent(
            action=f"view{n % 50}",
            object_type="testapp.poll" if n % 100 == 0 else f"testapp.other{n}",
            object_pk=n,
            user_pk=n % 50,
            occurred_at=timezone.now() + dt.timedelta(days=1),
        )
        for n in range(3000)
    )
    plan = plan_of(narrow(AccessEvent.objects.newest()), index)
    assert index in plan
    assert not ("SCAN" in plan and connection.vendor == "sqlite")


@pytest.mark.parametrize("model", [AccessEvent, Delivery, Document])
def test_deleting_stays_one_statement(model):
    # A receiver or a foreign key of ours would make Django load every row that it deletes.
    assert Collector(using="default").can_fast_delete(model.objects.all())
