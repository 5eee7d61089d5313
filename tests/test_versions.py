"""The version of an object: another with every field, and with nothing else."""

import datetime as dt
import uuid
from decimal import Decimal

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage
from django.db.models import F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pusherable.snapshots import stored_state
from pusherable.versions import LENGTH, digest, version
from tests.testapp.models import Everything, Poll, PollProxy, Seat, Tag

pytestmark = pytest.mark.django_db

#: Two values for each field that can have them.
VALUES = {
    "char": ("a", "b"),
    "text": ("", " "),
    "slug": ("a", "b"),
    "email": ("a@example.com", "b@example.com"),
    "url": ("https://example.com", "https://example.org"),
    "boolean": (None, False),
    "small": (0, 1),
    "positive": (0, None),
    "positive_small": (0, 1),
    "positive_big": (0, 1),
    "integer": (0, 1),
    "big": (2**53, 2**53 + 1),
    "decimal": (Decimal("1.00"), Decimal("1.01")),
    "float": (0.1, 0.2),
    "date": (dt.date(2026, 1, 1), dt.date(2026, 1, 2)),
    "time": (dt.time(1), dt.time(1, 0, 1)),
    "datetime": (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 1, 1, 1, tzinfo=dt.UTC)),
    "duration": (dt.timedelta(1), dt.timedelta(1, 1)),
    "uuid": (uuid.UUID(int=1), uuid.UUID(int=2)),
    "ip": ("127.0.0.1", "::1"),
    "binary": (b"a", b"b"),
    "json": ({"a": [1]}, {"a": ["1"]}),
    "file": ("files/a", "files/b"),
    "image_path": ("/a", "/b"),
    "rating": (("*",), ("*", "*")),
    "modified": (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 1, 2, tzinfo=dt.UTC)),
    "internal": ("a", "b"),
    "api_key": ("a", "b"),
    "password": ("a", "b"),
}
NOT_SET = {"id", "doubled", "poll"}


def stored(**fields):
    """The version of an object with these fields; the clock and what else is automatic plays no part."""
    Everything.objects.update_or_create(pk=1)
    fields.setdefault("modified", VALUES["modified"][0])
    Everything.objects.filter(pk=1).update(**fields)
    return version(Everything(pk=1))


def test_every_field_is_tried():
    assert {field.name for field in Everything._meta.concrete_fields} == VALUES.keys() | NOT_SET


@given(
    name=st.sampled_from(sorted(VALUES)),
    others=st.fixed_dictionaries({}, optional={name: st.sampled_from(both) for name, both in VALUES.items()}),
)
@hypothesis_settings(max_examples=60)
def test_it_is_another_with_every_field(name, others):
    one, two = ({**others, name: value} for value in VALUES[name])
    assert stored(**one) != stored(**two)
    assert stored(**two) == stored(**two)


def test_relations_count(poll):
    obj = Everything.objects.create()
    one = version(obj)
    Everything.objects.filter(pk=obj.pk).update(poll=poll)
    two = version(obj)
    tag, other = Tag.objects.create(name="a"), Tag.objects.create(name="b")
    obj.tags.add(tag)
    three = version(obj)
    obj.tags.set([other])
    assert len({one, two, three, version(obj)}) == 4
    obj.tags.set([other, tag])
    both = version(obj)
    obj.tags.clear()
    obj.tags.set([tag, other])
    assert version(obj) == both


def test_it_is_that_of_the_database(poll, django_assert_num_queries):
    with django_assert_num_queries(1):
        before = version(poll)
    poll.question = "not saved"
    assert version(poll) == before
    poll.pub_date = F("pub_date")
    assert version(poll) == before
    Poll.objects.update(question="saved")
    assert version(poll) != before
    assert version(Poll.objects.only("pk").get()) == version(Poll.objects.get())


def test_it_is_one_for_a_model_and_its_proxy(poll):
    assert version(poll) == version(PollProxy.objects.get())


def test_every_object_has_its_own():
    seats = [Seat.objects.create(row=row, number=number) for row in "AB" for number in (1, 2)]
    assert len({version(seat) for seat in seats}) == 4


def test_it_is_another_where_the_object_is_gone(poll):
    before, copy = version(poll), Poll.objects.get()
    poll.delete()
    assert version(copy) != before


def test_it_tells_nothing_to_who_has_not_the_key(settings, poll):
    before = version(poll)
    assert len(before) == LENGTH
    assert set(before) <= set("0123456789abcdef")
    settings.SECRET_KEY = "another"
    assert version(poll) != before


def test_the_address_of_a_file_may_be_signed_anew(monkeypatch):
    """As those of files in a cloud are, each time that they are asked for."""
    signatures = iter(range(1000))

    class Cloud(InMemoryStorage):
        def url(self, name):
            return f"https://example.com/{name}?signature={next(signatures)}"

    monkeypatch.setattr(Everything._meta.get_field("file"), "storage", Cloud())
    obj = Everything.objects.create(file=ContentFile(b"a", "a.txt"))
    assert obj.file.url != obj.file.url
    before = version(obj)
    assert version(obj) == before
    obj.file.save("b.txt", ContentFile(b"a"))
    assert version(obj) != before


def test_it_may_be_that_of_some_fields(poll):
    def some():
        return digest(poll, stored_state(poll), {"question", "owner"})

    before = some()
    Poll.objects.update(date="2026-11-23")
    assert some() == before
    Poll.objects.update(question="New?")
    assert some() != before
