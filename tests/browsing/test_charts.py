"""The figures of the charts: what is counted, of which events, and what leads to them."""

import datetime as dt
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from pusherable.browsing import paging
from pusherable.browsing.charts import Charts
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent

pytestmark = pytest.mark.django_db

NOON = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def log(count=1, **fields):
    """So many events of these fields; each field may be a function of the event's number."""
    usual = {
        "action": "view",
        "object_type": "blog.post",
        "object_pk": "1",
        "object_repr": "A",
        "username": "ada",
    }
    usual |= {"occurred_at": NOON} | fields
    return AccessEvent.objects.bulk_create(
        AccessEvent(**{name: value(number) if callable(value) else value for name, value in usual.items()})
        for number in range(count)
    )


def charts(**data):
    filterset = AccessEventFilter(data)
    assert not filterset.errors
    return Charts(filterset, "/log/")


def parameters(url):
    assert url.startswith("/log/?")
    return dict(parse_qsl(urlsplit(url).query))


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setattr(paging, "WINDOW", 10)


# Bars


def test_events_by_the_hour_and_action():
    log(3)
    log(2, action="updated", occurred_at=NOON + HOUR)
    log(action="printed", occurred_at=NOON + HOUR * 1.99)
    found = charts()
    assert found.actions == [("view", 3), ("updated", 2), ("printed", 1)]
    assert [bar.counts for bar in found.bars] == [[0, 0, 0]] * 12 + [[3, 0, 0], [0, 2, 1]] + [[0, 0, 0]] * 10
    assert [bar.count for bar, _parts in found.drawn] == [3, 3]


def test_rare_actions_are_one():
    for number in range(8):
        log(10 - number, action=f"a{number}")
    found = charts()
    assert found.actions[3:] == [("a3", 7), ("a4", 6), ("other actions", 12)]
    assert found.highest.counts == [10, 9, 8, 7, 6, 12]


def test_five_actions_have_no_others():
    for number in range(5):
        log(action=f"a{number}")
    assert len(charts().actions) == 5


def test_parts_stand_upon_each_other_up_to_the_top():
    log(3)
    log(action="updated")
    ((_bar, parts),) = charts().drawn
    assert [(part.label, part.count, part.number) for part in parts] == [("view", 3, 0), ("updated", 1, 1)]
    assert [(part.y, part.height) for part in parts] == [("25.00%", "75.00%"), ("0.00%", "25.00%")]
    assert {(part.x, part.width) for part in parts} == {("50.33%", "3.50%")}


def test_days_are_those_of_the_current_time_zone():
    log(2, occurred_at=NOON.replace(hour=23))
    log(occurred_at=NOON - 4 * 24 * HOUR)
    assert [bar.count for bar in charts().bars] == [1, 0, 0, 0, 2]
    with timezone.override("Europe/Berlin"):
        assert [bar.count for bar in charts().bars] == [1, 0, 0, 0, 0, 2]


def test_a_bar_leads_to_its_events():
    log(2)
    log(5, occurred_at=NOON + HOUR)
    assert parameters(charts(username="ada", before_id="9999999").highest.url) == {
        "username": "ada",
        "after": "2026-11-22T13:00:00+00:00",
        "before": "2026-11-22T14:00:00+00:00",
    }
    log(occurred_at=NOON - 4 * 24 * HOUR)
    assert parameters(charts().highest.url) == {"after": "2026-11-22", "before": "2026-11-22"}


def test_few_labels_in_the_direction_of_the_language():
    log()
    assert charts().ticks[:2] == [("November 22", "0.00%"), ("04:00", "16.67%")]
    assert len(charts().ticks) == 6
    with translation.override("ar"):
        assert [place for _label, place in charts().ticks[:2]] == ["100.00%", "83.33%"]
        assert charts().hours == [("0", "100.00%"), ("6", "75.00%"), ("12", "50.00%"), ("18", "25.00%")]


# Users and objects


def test_who_opened_much_at_night():
    log(40, object_pk=str, user_pk="5", username="eve", occurred_at=NOON - 10 * HOUR)
    log(2, user_pk="5", username="eve")
    log(5, user_pk="6")
    eve, ada = charts().users
    assert (eve.row.username, eve.count, eve.others, eve.width) == ("eve", 42, 40, "100.00%")
    assert (eve.hour.count, eve.hour.span.start) == (40, NOON - 10 * HOUR)
    assert [(mark.label, mark.count, mark.height) for mark in eve.day] == [
        ("02:00", 40, "100.00%"),
        ("12:00", 2, "5.00%"),
    ]
    assert (ada.row.username, ada.count, ada.others, ada.width) == ("ada", 5, 1, "11.90%")


def test_hours_are_those_of_the_current_time_zone():
    log(2, occurred_at=NOON + dt.timedelta(minutes=59, seconds=59, microseconds=999_999))
    with timezone.override("Asia/Kathmandu"):  # 17:45 at noon
        (user,) = charts().users
        assert [(mark.label, mark.count) for mark in user.day] == [("18:00", 2)]
        assert user.hour.span.start == NOON + dt.timedelta(minutes=15)
        assert user.hour.count == 2


def test_a_user_and_the_hour_lead_to_the_events():
    log(3, user_pk="5")
    (user,) = charts(object_type="blog.Post", after_id="0").users
    assert parameters(user.url) == {"object_type": "blog.Post", "user_pk": "5"}
    assert parameters(user.hour.url) == {
        "object_type": "blog.Post",
        "user_pk": "5",
        "after": "2026-11-22T12:00:00+00:00",
        "before": "2026-11-22T13:00:00+00:00",
    }


def test_a_user_without_a_key_is_known_by_name():
    log(user_pk="")
    assert parameters(charts().users[0].url) == {"username": "ada"}


def test_a_user_who_was_renamed_is_one_with_the_newer_name():
    log(user_pk="5", username="ada")
    log(user_pk="5", username="countess")
    assert [(user.row.username, user.count) for user in charts().users] == [("countess", 2)]


def test_visitors_are_no_user_and_searches_are_about_no_object():
    log(3, username="", object_pk="")
    found = charts()
    assert (found.count, found.users, found.objects) == (3, [], [])
    log(username="", object_pk="7")
    log(username="ada", object_pk="")
    assert [user.others for user in charts().users] == [0]
    assert [one.others for one in charts().objects] == [0]


def test_the_busiest_objects():
    for number in range(7):
        log(number + 1, object_pk=str(number), object_repr=f"Post {number}", username=lambda n: f"u{n % 3}")
    found = charts(username="").objects
    assert [(one.row.object_repr, one.count, one.others) for one in found] == [
        ("Post 6", 7, 3),
        ("Post 5", 6, 3),
        ("Post 4", 5, 3),
        ("Post 3", 4, 3),
        ("Post 2", 3, 3),
    ]
    assert parameters(found[0].url) == {"object_type": "blog.post", "object_pk": "6"}


def test_objects_of_different_types_are_different():
    log(2)
    log(object_type="shop.order")
    assert [(one.row.object_type, one.count) for one in charts().objects] == [
        ("blog.post", 2),
        ("shop.order", 1),
    ]


# The window


def state(found):
    return found.count, found.is_more, found.looked_through


def test_nothing():
    assert state(charts()) == (0, False, None)


@pytest.mark.parametrize(
    ("count", "expected"), [(9, (9, False, None)), (10, (10, False, None)), (11, (10, True, None))]
)
@pytest.mark.parametrize("data", [{}, {"username": "ada"}, {"after": "2026-11-22"}], ids=str)
def test_the_newest(window, count, expected, data):
    events = log(count, occurred_at=lambda number: NOON + number * HOUR)
    found = charts(**data)
    assert state(found) == expected
    assert (found.first, found.last) == (events[-expected[0]].occurred_at, events[-1].occurred_at)


def test_what_no_index_answers_is_looked_for_in_a_window(window):
    log(4, remote_addr="::1")
    log(8, remote_addr=lambda number: "::1" if number % 2 else "")
    assert state(charts(remote_addr="::1")) == (6, True, 10)
    assert state(charts(remote_addr="::2")) == (0, True, 10)
    assert state(charts(remote_addr="::1", username="ada")) == (6, True, 10)


def test_all_of_a_window(window):
    log(12, remote_addr="::1")
    assert state(charts(remote_addr="::1")) == (10, True, None)


@pytest.mark.parametrize("cursor", ["before_id", "after_id"])
def test_whatever_the_page(cursor):
    events = log(5)
    last = AccessEvent.objects.order_by("pk").values_list("pk", flat=True)[2]
    assert len(events) == charts(**{cursor: str(last)}).count == 5


QUERIES = [
    ({}, 1),
    ({"username": "ada"}, 1),
    ({"remote_addr": "x"}, 2),
    ({"username": "ada", "within": "P9Y", "q": "x"}, 3),
]


@pytest.mark.parametrize(("data", "count"), QUERIES, ids=str)
def test_few_queries(data, count, django_assert_num_queries):
    log(20)
    with django_assert_num_queries(count):
        found = charts(**data)
        if found.count:
            assert all([found.bars, found.drawn, found.ticks, found.users, found.objects])


# Whatever there is


@st.composite
def events(draw):
    user_pk, username = draw(
        st.sampled_from([("5", "ada"), ("6", "eve"), ("6", "mallory"), ("", "bot"), ("", "")])
    )
    return AccessEvent(
        occurred_at=NOON - draw(st.timedeltas(-HOUR * 24 * 7, HOUR * 24 * 7)) - HOUR * 24 * 28,
        action=draw(st.sampled_from("abcdefgh")),
        object_type="blog.post",
        object_pk=draw(st.sampled_from(["", "1", "2", "3"])),
        user_pk=user_pk,
        username=username,
    )


class Whatever(TestCase):
    @given(
        st.lists(events(), min_size=1, max_size=20),
        st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]),
    )
    @hypothesis_settings(max_examples=20)
    def test_every_event_is_in_one_bar_and_each_link_leads_to_as_many(self, log, zone):
        AccessEvent.objects.bulk_create(log)
        with timezone.override(zone):
            found = charts()
            assert (
                sum(bar.count for bar in found.bars) == sum(count for _, count in found.actions) == len(log)
            )
            for one in [*(bar for bar, _parts in found.drawn), *found.users, *found.objects]:
                assert len(AccessEventFilter(parameters(one.url)).qs) == one.count
            for one in found.users:
                assert len(AccessEventFilter(parameters(one.hour.url)).qs) == one.hour.count
                assert sum(mark.count for mark in one.day) == one.count
