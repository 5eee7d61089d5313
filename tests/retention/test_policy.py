"""Which events have expired, by an option or by PUSHERABLE_RETENTION."""

import datetime as dt

import pytest
from django.db import connection
from django.utils import timezone

from pusherable.models import AccessEvent
from pusherable.retention.policy import Policy

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
TICK = dt.timedelta(microseconds=1)
#: As the README has it.
RULES = {"view": "90d", "blog.post": "2y", "*": "6y"}


@pytest.fixture
def record():
    """Write an event that is so old."""

    def write(age=DAY, action="view", object_type="shop.order"):
        return AccessEvent.objects.create(occurred_at=NOW - age, action=action, object_type=object_type)

    return write


@pytest.fixture
def expired(settings):
    """The events that have expired by rules, none of them from `latest` on."""

    def find(rules):
        settings.PUSHERABLE_RETENTION = rules
        policy = Policy.of_setting(NOW)
        events = list(AccessEvent.objects.filter(policy.expired).order_by("id"))
        assert all(event.occurred_at < policy.latest for event in events)
        return events

    return find


def keeps(record, expired, rules, age, **fields):
    """Whether an event is kept until that age, and not for longer."""
    young, _old = record(age, **fields), record(age + TICK, **fields)
    return young not in expired(rules) and _old in expired(rules)


# By an option


def test_what_is_older_than_the_cutoff(record):
    policy = Policy.older_than("90d", NOW)
    old = record(90 * DAY + TICK)
    record(90 * DAY)
    assert list(AccessEvent.objects.filter(policy.expired)) == [old]
    assert policy.latest == NOW - 90 * DAY


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-08-24", "from before 2026-08-24"),
        ("2026-08-24T10:30:15.5", "from before 2026-08-24 10:30:15"),
        ("2026-08-24T00:00Z", "from before 2026-08-24 02:00:00"),
        ("90d", "from before 2026-08-24 14:00:00"),
    ],
)
def test_it_says_what_it_takes_in_local_time(text, words):
    with timezone.override("Europe/Berlin"):
        assert Policy.older_than(text, NOW).text == words


def test_what_cannot_be_is_an_error():
    with pytest.raises(ValueError, match="'90': Enter a unit"):
        Policy.older_than("90", NOW)


# By the setting


@pytest.mark.parametrize("rules", [{}, {"*": None}, {"view": None, "blog.post": None}])
def test_without_a_time_there_is_no_policy(settings, rules):
    assert Policy.of_setting(NOW) is None
    settings.PUSHERABLE_RETENTION = rules
    assert Policy.of_setting(NOW) is None


@pytest.mark.parametrize(
    ("action", "object_type", "age"),
    [
        ("view", "blog.post", 730 * DAY),
        ("updated", "blog.post", 730 * DAY),
        ("view", "shop.order", 90 * DAY),
        ("updated", "shop.order", 2191 * DAY),
    ],
)
def test_a_model_goes_before_an_action_and_that_before_the_rest(record, expired, action, object_type, age):
    assert keeps(record, expired, RULES, age, action=action, object_type=object_type)


@pytest.mark.parametrize("rules", [RULES, dict(reversed(RULES.items()))])
def test_neither_their_order_nor_their_length_counts(record, expired, rules):
    rules = rules | {"blog.post": "1d"}
    assert keeps(record, expired, rules, DAY, object_type="blog.post")
    assert keeps(record, expired, rules, 90 * DAY)


def test_what_no_entry_is_about_stays(record, expired):
    record(100_000 * DAY, action="updated")
    viewed = record(91 * DAY)
    assert expired({"view": "90d", "blog.post": "2y"}) == [viewed]


def test_none_is_for_ever(record, expired):
    record(100_000 * DAY, object_type="clinic.patient")
    record(100_000 * DAY, action="updated")
    viewed = record(91 * DAY)
    assert expired({"clinic.patient": None, "updated": None, "view": "90d", "*": "1d"}) == [viewed]
    other = record(2 * DAY, action="update")
    assert expired({"clinic.patient": None, "updated": None, "*": "1d"}) == [viewed, other]
    assert expired({"clinic.patient": None, "view": "90d", "*": None}) == [viewed]


def test_the_latest_moment_is_that_of_the_shortest_time(settings):
    settings.PUSHERABLE_RETENTION = RULES
    assert Policy.of_setting(NOW).latest == NOW - 90 * DAY
    assert Policy.of_setting(NOW).text == "that PUSHERABLE_RETENTION no longer keeps"


@pytest.mark.parametrize("label", ["testapp.Poll", "testapp.poll", "testapp.POLL", "testapp.PollProxy"])
def test_a_model_has_many_names(record, expired, label):
    event = record(2 * DAY, object_type="testapp.poll")
    record(2 * DAY)
    assert expired({label: "1d"}) == [event]


def test_a_model_that_is_gone(record, expired):
    event = record(2 * DAY, object_type="gone.thing")
    assert expired({"gone.Thing": "1d"}) == [event]


def test_an_action_of_the_projects_own(record, expired):
    event = record(2 * DAY, action="sent to 'Ada' 100%")
    record(2 * DAY)
    assert expired({"sent to 'Ada' 100%": "1d"}) == [event]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_a_project_without_time_zones(settings, record, expired, zone):
    settings.USE_TZ, settings.TIME_ZONE = False, zone
    now = dt.datetime(2026, 11, 22, 12)  # noqa: DTZ001
    settings.PUSHERABLE_RETENTION = {"view": "1d", "*": "2d"}
    ages = {"view": DAY, "updated": 2 * DAY}
    events = [
        AccessEvent.objects.create(occurred_at=now - age - late, action=action)
        for action, age in ages.items()
        for late in (TICK, dt.timedelta(0))
    ]
    assert list(AccessEvent.objects.filter(Policy.of_setting(now).expired).order_by("id")) == events[::2]
    assert Policy.of_setting(now).latest == now - DAY


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (None, "PUSHERABLE_RETENTION = None: Enter a dictionary."),
        ([("view", "90d")], "Enter a dictionary"),
        ("90d", "Enter a dictionary"),
        ({"view": "90"}, "PUSHERABLE_RETENTION['view']: '90': Enter a unit too"),
        ({"view": 90}, "PUSHERABLE_RETENTION['view']: '90': Enter a unit too"),
        ({"view": ""}, "PUSHERABLE_RETENTION['view']: '': Enter a duration"),
        ({"view": dt.timedelta(90)}, "PUSHERABLE_RETENTION['view']: '90 days, 0:00:00': Enter a duration"),
        ({"*": "0d"}, "PUSHERABLE_RETENTION['*']: '0d': Enter a duration above zero"),
        ({"*": False}, "PUSHERABLE_RETENTION['*']: 'False': Enter a duration"),
        ({"*": "-6y"}, "PUSHERABLE_RETENTION['*']: '-6y': Enter a duration"),
        ({"*": "9999y"}, "PUSHERABLE_RETENTION['*']: '9999y': Enter a shorter one"),
        ({"blog.post": "2026-08-24"}, "PUSHERABLE_RETENTION['blog.post']: '2026-08-24': Enter a duration"),
        ({"blog.post:17": "2y"}, "PUSHERABLE_RETENTION['blog.post:17']: Enter an action"),
        ({"a.b.c": "2y"}, "PUSHERABLE_RETENTION['a.b.c']: Enter an action"),
        ({"blog.": "2y"}, "PUSHERABLE_RETENTION['blog.']: Enter an action"),
        ({"blog.*": "2y"}, "PUSHERABLE_RETENTION['blog.*']: Enter an action"),
        ({"": "2y"}, "PUSHERABLE_RETENTION['']: Enter an action"),
        ({"\0": "2y"}, "Enter an action"),
        ({"\ud800": "2y"}, "Enter an action"),
        ({None: "2y"}, "PUSHERABLE_RETENTION[None]: Enter an action"),
        ({"blog.post": "2y", "blog.Post": "1y"}, "PUSHERABLE_RETENTION['blog.Post']: Another entry"),
        ({"testapp.poll": "2y", "testapp.PollProxy": None}, "['testapp.PollProxy']: Another entry"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_the_entry(settings, rules, message):
    settings.PUSHERABLE_RETENTION = rules
    with pytest.raises(ValueError) as caught:
        Policy.of_setting(NOW)
    assert message in str(caught.value)


def test_the_rules_tempt_no_database_to_read_all_events_of_an_action(settings):
    """For every batch it would do so again."""
    settings.PUSHERABLE_RETENTION = {"view": "90d", "blog.post": "2y"}
    batch = AccessEvent.objects.filter(occurred_at__gt=NOW - 91 * DAY, occurred_at__lt=NOW - 90 * DAY)
    plan = batch.filter(Policy.of_setting(NOW).expired).explain()
    if connection.vendor == "sqlite":  # the others know how many rows there are, and here there are none
        assert "USING INDEX pusherable_time" in plan
    assert "pusherable_action" not in plan
