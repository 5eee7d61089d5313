import datetime as dt
import json
import uuid
from decimal import Decimal

import pytest
from django.core.exceptions import FieldDoesNotExist
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, Storage
from django.db.models import prefetch_related_objects
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from pusherable.snapshots import jsonable, object_key, object_type, snapshot
from tests.testapp.models import (
    Document,
    Everything,
    Page,
    Place,
    Poll,
    PollProxy,
    Restaurant,
    Seat,
    Tag,
)

NOW = dt.datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=dt.UTC)
EAST = dt.timezone(dt.timedelta(hours=2))
SECRET = {"api_key", "password"}
NOT_EDITABLE = {"binary", "modified", "internal", "doubled"}


@pytest.fixture
def everything(db):
    return Everything.objects.create(integer=21)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("char", "é \U0001f600", "é \U0001f600"),
        ("char", "a\0b\ud800", "a\ufffdb?"),
        ("char", gettext_lazy("Yes"), "Yes"),
        ("char", 42, "42"),
        ("text", "", ""),
        ("slug", "a-slug", "a-slug"),
        ("email", "me@example.com", "me@example.com"),
        ("url", "https://example.com/", "https://example.com/"),
        ("boolean", True, True),
        ("boolean", None, None),
        ("boolean", "t", True),
        ("boolean", "", None),
        ("small", -1, -1),
        ("positive", "7", 7),
        ("positive_small", 7, 7),
        ("positive_big", 2**63 - 1, 2**63 - 1),
        ("integer", 0, 0),
        ("integer", "seven", "seven"),
        ("big", -(2**63), -(2**63)),
        ("decimal", Decimal("1.5"), "1.50"),
        ("decimal", Decimal("-0.001"), "0.00"),
        ("decimal", "1.5", "1.50"),
        ("decimal", Decimal("NaN"), "NaN"),
        ("float", 0.5, 0.5),
        ("float", 1, 1.0),
        ("float", float("nan"), "nan"),
        ("float", float("-inf"), "-inf"),
        ("date", dt.date(2026, 11, 22), "2026-11-22"),
        ("date", "2026-11-22", "2026-11-22"),
        ("date", "tomorrow", "tomorrow"),
        ("time", dt.time(10, 0, 0, 1), "10:00:00.000001"),
        ("datetime", NOW, "2026-11-22T10:00:00.123456Z"),
        ("datetime", NOW.astimezone(EAST), "2026-11-22T10:00:00.123456Z"),
        ("datetime", dt.datetime.min.replace(tzinfo=EAST), "0001-01-01T00:00:00+02:00"),
        ("datetime", dt.datetime(2013, 8, 8, 11, 16, 24), "2013-08-08T11:16:24"),  # noqa: DTZ001
        ("duration", dt.timedelta(days=1, seconds=1), "P1DT00H00M01S"),
        ("uuid", uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("uuid", "00000000000000000000000000000001", "00000000-0000-0000-0000-000000000001"),
        ("ip", "2001:db8::1", "2001:db8::1"),
        ("binary", b"\x00\xff", "AP8="),
        ("binary", memoryview(b"\x00\xff"), "AP8="),
        ("json", {"a": [1, 2.5, None, "x\0"]}, {"a": [1, 2.5, None, "x\ufffd"]}),
        ("json", {"a": {"api_key": "k", "b": [{"userPassword": "p", "c": 1}]}}, {"a": {"b": [{"c": 1}]}}),
        ("json", [1], [1]),
        ("json", float("nan"), "nan"),
        ("image_path", "/a.png", "/a.png"),
        ("rating", ("*", "*"), "2"),  # a custom field says itself how it is written
        ("internal", "note", "note"),
        ("modified", NOW, "2026-11-22T10:00:00.123456Z"),
        ("poll", None, None),
    ],
)
def test_a_value_as_json(field, value, expected):
    taken = snapshot(Everything(**{field: value}), field)
    assert taken == {field: expected}
    assert type(taken[field]) is type(expected)
    json.dumps(taken, allow_nan=False)


def test_by_default_the_editable_fields_and_the_key(everything):
    names = {field.name for field in (*Everything._meta.concrete_fields, *Everything._meta.many_to_many)}
    assert set(snapshot(everything)) == names - NOT_EDITABLE - SECRET
    assert snapshot(everything)["id"] == everything.pk


def test_others_when_they_are_asked_for(everything):
    everything.refresh_from_db()
    taken = snapshot(everything, ["modified", "internal", "doubled", "binary"])
    assert set(taken) == NOT_EDITABLE
    assert taken["doubled"] == 42


def test_fields_and_exclude_take_a_name_or_any_iterable(poll):
    assert set(snapshot(poll, "question")) == {"question"}
    assert set(snapshot(poll, iter(["question", "id"]))) == {"question", "id"}
    assert set(snapshot(poll, exclude="pub_date")) == {"id", "question", "date", "owner"}
    assert set(snapshot(poll, exclude=("pub_date", "date"))) == {"id", "question", "owner"}
    assert set(snapshot(poll, ["question", "date"], "date")) == {"question"}
    assert snapshot(poll, []) == {}


@pytest.mark.parametrize("names", [{"fields": "qestion"}, {"exclude": "pub"}, {"fields": ["id", "owner_id"]}])
def test_a_name_that_the_model_lacks_is_told_with_those_it_has(poll, names):
    with pytest.raises(
        FieldDoesNotExist, match=r"testapp.Poll has no field named '.+' .* it has id, question"
    ):
        snapshot(poll, **names)


def test_secrets_are_left_out_whatever_is_asked_for():
    obj = Everything(password="hunter2", api_key="k", char="x")
    assert snapshot(obj, ["password", "api_key", "char"]) == {"char": "x"}


def test_the_project_says_what_else_is_secret(settings):
    obj = Everything(char="x", text="y", json={"chars": 1, "char_code": 2})
    settings.PUSHERABLE_REDACT = ["char", "testapp.everything.text"]
    assert snapshot(obj, ["char", "text", "json"]) == {"json": {"chars": 1}}
    settings.PUSHERABLE_REDACT = []
    assert snapshot(obj, ["char", "text"]) == {"char": "x", "text": "y"}


def test_nested_secrets_of_a_custom_field_are_left_out():
    assert snapshot(Everything(rating={"token": "t", "n": 1}), "rating") == {"rating": {"n": 1}}


def test_a_foreign_key_is_the_key_and_costs_nothing(poll, django_assert_num_queries):
    obj = Everything.objects.create(poll=poll)
    obj = Everything.objects.get(pk=obj.pk)
    with django_assert_num_queries(0):
        assert snapshot(obj, "poll") == {"poll": poll.pk}


def test_many_to_many_is_a_sorted_list_of_keys(everything, django_assert_num_queries):
    tags = [Tag.objects.create(name=name) for name in "cab"]
    everything.tags.set(tags[::-1])
    keys = [tag.pk for tag in tags]
    with django_assert_num_queries(1):
        assert snapshot(everything, "tags") == {"tags": keys}
    prefetch_related_objects([everything], "tags")
    with django_assert_num_queries(0):
        assert snapshot(everything, "tags") == {"tags": keys}


def test_an_unsaved_object(django_assert_num_queries):
    taken = snapshot(Everything(char="x"), ["id", "char", "tags"])
    assert taken == {"id": None, "char": "x", "tags": []}


class Vault(Storage):
    """A storage whose files have no address."""


class Cloud(Storage):
    """A storage that cannot be asked just now."""

    def url(self, name):
        raise OSError("no credentials")


def test_a_file_has_a_name_and_an_address(monkeypatch):
    field = Everything._meta.get_field("file")
    monkeypatch.setattr(field, "storage", InMemoryStorage(base_url="https://files.example.com/"))
    obj = Everything()
    assert snapshot(obj, "file") == {"file": None}
    obj.file.save("a b.txt", ContentFile(b"x"), save=False)
    assert snapshot(obj, "file") == {
        "file": {"name": "files/a_b.txt", "url": "https://files.example.com/files/a_b.txt"}
    }


@pytest.mark.parametrize(
    "storage", [Vault(), InMemoryStorage(), Cloud()], ids=["no url()", "no base_url", "an error"]
)
def test_a_file_without_address(monkeypatch, storage, settings):
    settings.MEDIA_URL = None
    monkeypatch.setattr(Everything._meta.get_field("file"), "storage", storage)
    assert snapshot(Everything(file="files/a.txt"), "file") == {"file": {"name": "files/a.txt", "url": None}}


def test_a_deferred_field_is_left_out_unless_it_is_asked_for(poll, django_assert_num_queries):
    obj = Poll.objects.only("question").get()
    with django_assert_num_queries(0):
        assert set(snapshot(obj)) == {"id", "question"}
    with django_assert_num_queries(1):
        assert snapshot(obj, "pub_date") == {"pub_date": "2013-08-08T11:16:24Z"}


def test_a_proxy_is_its_concrete_model(poll):
    proxy = PollProxy.objects.get()
    assert snapshot(proxy) == snapshot(poll)
    assert object_type(proxy) == object_type(PollProxy) == "testapp.poll"


@pytest.mark.django_db
def test_multi_table_inheritance():
    obj = Restaurant.objects.create(name="Chez", stars=2)
    assert snapshot(obj) == {"id": obj.pk, "name": "Chez", "place_ptr": obj.pk, "stars": 2}
    assert object_type(obj) == "testapp.restaurant"
    assert object_type(Place) == "testapp.place"
    assert object_key(obj) == str(obj.pk)


def test_a_lazy_object(poll):
    lazy = SimpleLazyObject(lambda: poll)
    assert snapshot(lazy) == snapshot(poll)
    assert (object_type(lazy), object_key(lazy)) == ("testapp.poll", str(poll.pk))


@pytest.mark.parametrize(
    ("obj", "key"),
    [
        (Poll(), ""),
        (Poll(pk=0), "0"),
        (Document(pk=uuid.UUID(int=1)), "00000000-0000-0000-0000-000000000001"),
        (Page(pk="a/b\0"), "a/b\ufffd"),
        (Seat(row="A", number=2), '["A", "2"]'),
        (Page(pk="x" * 255), "x" * 255),
    ],
)
def test_the_key_as_text(obj, key):
    assert object_key(obj) == key


def test_a_key_that_is_too_long_stays_unique():
    keys = {object_key(Page(pk="x" * 300 + end)) for end in "ab"}
    assert len(keys) == 2
    assert all(len(key) == 255 and key.startswith("xxx") for key in keys)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, "a"), [1, "a"]),
        ({1: "a", None: b"b"}, {"1": "a", "None": "b'b'"}),
        (Decimal("1.5"), "1.5"),
        (dt.timedelta(seconds=1), "P0DT00H00M01S"),
        (dt.time(10, tzinfo=dt.UTC), "10:00:00+00:00"),
        (2**70, 2**70),
        ({"clé": {"token": 1}}, {"clé": {"token": 1}}),
    ],
)
def test_any_value_becomes_json(value, expected):
    assert jsonable(value) == expected
