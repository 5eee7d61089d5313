"""For whatever a model may hold: the snapshot is JSON that every database takes and gives back."""

import datetime as dt
import json
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from pusherable.models import AccessEvent
from pusherable.recording import record_access
from pusherable.redaction import REDACTED
from pusherable.snapshots import difference, snapshot, state
from tests.testapp.models import Everything

texts = st.text(max_size=50)  # NUL and lone surrogates too
zones = st.sampled_from(
    [None, dt.UTC, dt.timezone(dt.timedelta(hours=14)), dt.timezone(dt.timedelta(hours=-12))]
)
nested = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(texts, st.sampled_from(["password", "apiKey", "a"])), inner, max_size=3),
    ),
    max_leaves=8,
)
VALUES = {
    **dict.fromkeys(["char", "text", "slug", "email", "url", "image_path", "internal", "file"], texts),
    "boolean": st.none() | st.booleans(),
    "small": st.none() | st.integers(-(2**15), 2**15 - 1),
    "positive": st.none() | st.integers(0, 2**31 - 1) | texts,
    "integer": st.none() | st.integers(-(2**31), 2**31 - 1),
    "big": st.none() | st.integers(-(2**63), 2**63 - 1),
    "decimal": st.none()
    | st.decimals(min_value=-(10**9), max_value=10**9)
    | st.decimals(places=1, allow_nan=False, min_value=0, max_value=9),
    "float": st.none() | st.floats(),
    "date": st.none() | st.dates() | texts,
    "time": st.none() | st.times(timezones=zones),
    "datetime": st.none() | st.datetimes(timezones=zones),
    "duration": st.none() | st.timedeltas(),
    "uuid": st.none() | st.uuids(),
    "ip": st.none() | st.ip_addresses().map(str),
    "binary": st.none() | st.binary(max_size=50) | st.binary(max_size=50).map(memoryview),
    "json": nested,
    "rating": st.none() | st.integers(0, 5).map(lambda n: ("*",) * n),
    "password": st.just("hunter2"),
    "api_key": st.just("hunter2"),
}
everything = st.builds(Everything, **VALUES)

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


def same(stored, taken):
    """Equal, but JSON does not tell 1e22 from 10000000000000000000000: PostgreSQL gives back the latter."""
    if isinstance(taken, dict):
        return stored.keys() == taken.keys() and all(same(stored[key], taken[key]) for key in taken)
    if isinstance(taken, list):
        return len(stored) == len(taken) and all(map(same, stored, taken))
    return float(stored) == taken if isinstance(taken, float) else stored == taken


@given(everything)
def test_a_snapshot_is_json_without_secrets(obj):
    text = json.dumps(snapshot(obj, list(VALUES)), allow_nan=False)
    text.encode()
    assert "hunter2" not in text
    assert "\\u0000" not in text
    assert '"apiKey"' not in text


@pytest.mark.django_db
@settings(max_examples=60)
@given(everything)
def test_a_snapshot_can_be_stored_and_comes_back_equal(obj):
    with transaction.atomic():
        event = record_access(obj, "view", fields=list(VALUES))
        stored = AccessEvent.objects.get(pk=event.pk).snapshot
        transaction.set_rollback(True)
    assert same(stored, snapshot(obj, list(VALUES)))


@given(everything)
def test_no_difference_to_itself(obj):
    assert difference(Everything, state(obj), state(obj)) == {}


@given(everything, everything, st.sets(st.sampled_from(sorted(VALUES))))
def test_the_difference_has_exactly_the_fields_that_changed(before, source, names):
    after = Everything(**{name: getattr(source if name in names else before, name) for name in VALUES})
    old, new = state(before), state(after)
    changes = difference(Everything, old, new)

    assert set(changes) == {name for name in names if old[name] != new[name]}
    for name, pair in changes.items():
        shown = [snapshot(obj, name).get(name) for obj in (before, after)]
        assert pair == (shown if shown[0] != shown[1] else [REDACTED, REDACTED])
    json.dumps(changes, allow_nan=False)


@pytest.mark.parametrize(
    ("field", "old", "new", "expected"),
    [
        ("char", "a", "b", ["a", "b"]),
        ("decimal", Decimal("1.5"), Decimal("1.50"), None),
        ("decimal", Decimal("1.5"), "1.50", None),
        ("decimal", Decimal(0), Decimal("-0.00"), None),
        ("float", 0.0, -0.0, None),
        ("float", float("nan"), float("nan"), None),
        ("integer", 1, "1", None),
        ("boolean", True, 1, None),
        ("datetime", NOON, NOON.astimezone(dt.timezone(dt.timedelta(hours=1))), None),
        ("binary", b"a", memoryview(b"a"), None),
        ("json", {"a": 1, "b": 2}, {"b": 2, "a": 1}, None),
        ("json", {"a": 1}, {"a": 2}, [{"a": 1}, {"a": 2}]),
        ("json", {"a": 1, "token": "x"}, {"a": 2, "token": "y"}, [{"a": 1}, {"a": 2}]),
        ("json", {"a": 1, "token": "x"}, {"a": 1, "token": "y"}, [REDACTED, REDACTED]),
        ("json", None, {}, [None, {}]),
        ("password", "hunter2", "hunter3", [REDACTED, REDACTED]),
        ("text", "", "\0", ["", "\ufffd"]),
        ("poll_id", 1, 2, [1, 2]),
    ],
)  # fmt: skip
def test_what_counts_as_a_change(field, old, new, expected):
    before, after = state(Everything(**{field: old})), state(Everything(**{field: new}))
    changes = difference(Everything, before, after)
    assert changes == ({} if expected is None else {field.removesuffix("_id"): expected})
