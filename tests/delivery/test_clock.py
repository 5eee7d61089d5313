"""The queue's time is the database server's, whatever clock a web or relay host has."""

import datetime as dt

import pytest
from django.db import connection, connections
from django.utils import timezone
from freezegun import freeze_time

from pusherable.delivery import clock
from pusherable.delivery.relay import Relay, Tally, lease
from pusherable.models import Delivery
from pusherable.recording import record_access

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)
SOON = dt.timedelta(seconds=30)
#: Without summer time: in an hour that comes twice, local time does not tell which of them is meant.
ZONES = ["UTC", "Asia/Kathmandu", "Pacific/Marquesas"]
#: SQLite has no server, so all processes are on one host and share its clock.
HAS_SERVER = connection.vendor != "sqlite"


@pytest.fixture
def zone(settings):
    """Makes the connection anew, with the project's settings of time as they are then."""

    def change(use_tz, of_project, of_connection=None):
        settings.USE_TZ, settings.TIME_ZONE = use_tz, of_project
        wrapper = connections["default"]
        wrapper.settings_dict["TIME_ZONE"] = of_connection
        vars(wrapper).pop("timezone", None)
        vars(wrapper).pop("timezone_name", None)
        wrapper.ensure_timezone()

    before = connection.settings_dict["TIME_ZONE"]
    yield change
    change(True, "UTC", before)


def utc(moment):
    """A time of the queue, which is naive local time without USE_TZ."""
    return (moment if timezone.is_aware(moment) else timezone.make_aware(moment)).astimezone(dt.UTC)


@pytest.mark.parametrize("of_project", ZONES)
@pytest.mark.parametrize("use_tz", [True, False])
def test_it_is_now_and_as_the_project_wants_it(zone, use_tz, of_project):
    zone(use_tz, of_project)
    now = clock.now("default")
    assert timezone.is_aware(now) is use_tz
    assert abs(utc(now) - dt.datetime.now(dt.UTC)) < SOON


@pytest.mark.parametrize("of_connection", ZONES)
def test_a_zone_of_the_database_is_respected(zone, of_connection):
    """The columns of MariaDB and SQLite hold local time of that zone."""
    zone(True, "Asia/Tokyo", of_connection)
    assert abs(clock.now("default") - dt.datetime.now(dt.UTC)) < SOON


@pytest.fixture(params=["+05:45", "-03:30"])
def session(request):
    """A default of the server's, which Django leaves as it is on MariaDB and MySQL."""
    if connection.vendor != "mysql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET time_zone = %s", [request.param])
        yield
        cursor.execute("SET time_zone = DEFAULT")


def test_the_zone_of_the_session_is_of_no_account(session, poll, recipient, woken):
    assert abs(clock.now("default") - dt.datetime.now(dt.UTC)) < SOON
    record_access(poll, "view")
    assert abs(Delivery.objects.get().deliver_after - dt.datetime.now(dt.UTC)) < SOON
    assert Relay("default").drain() == Tally(sent=1)


def test_it_moves_on_within_a_transaction():
    """On PostgreSQL the time of a transaction is that of its beginning."""
    before = clock.now("default")
    after = clock.now("default")
    while after == before:
        after = clock.now("default")
    assert after > before


@pytest.mark.parametrize(
    ("use_tz", "of_project", "of_connection"),
    [
        *((True, zone, None) for zone in ZONES),
        *((False, zone, None) for zone in ZONES),
        *((True, "UTC", zone) for zone in ZONES),
    ],
)
def test_what_is_recorded_is_due_at_once(zone, poll, recipient, woken, use_tz, of_project, of_connection):
    zone(use_tz, of_project, of_connection)
    before = clock.now("default")
    record_access(poll, "view")
    assert before <= Delivery.objects.get().deliver_after <= clock.now("default")
    assert Relay("default").drain() == Tally(sent=1)


@pytest.mark.parametrize("off", [-HOUR, HOUR])
def test_a_host_whose_clock_is_wrong_delays_nothing(poll, recipient, woken, off):
    """Neither what it has recorded itself, nor what others have."""
    with freeze_time(dt.datetime.now(dt.UTC) + off):
        event = record_access(poll, "view")
        assert abs(event.occurred_at - dt.datetime.now(dt.UTC)) < SOON, "the log tells the host's time"
    if HAS_SERVER:
        assert abs(Delivery.objects.get().deliver_after - dt.datetime.now(dt.UTC)) < SOON
        assert Relay("default").drain() == Tally(sent=1)


@pytest.mark.parametrize("off", [-HOUR, HOUR])
def test_a_relay_whose_clock_is_wrong_delays_nothing_and_breaks_no_lease(enqueue, killed, recipient, off):
    off *= HAS_SERVER
    enqueue(3, objects=3)
    held = killed(batch_size=1)
    with freeze_time(dt.datetime.now(dt.UTC) + off):
        assert Relay("default").drain() == Tally(sent=2)
        assert Relay("default").drain() == Tally()
    Delivery.objects.update(deliver_after=clock.now("default"))
    with freeze_time(dt.datetime.now(dt.UTC) + off):
        [again] = killed()
    assert again.event_id == held[0].event_id
    assert lease() - SOON < again.deliver_after - dt.datetime.now(dt.UTC) <= lease()
