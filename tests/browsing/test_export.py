"""What is in a file of events, and how it comes to be: chunk by chunk."""

import csv
import datetime as dt
import gc
import io
import json

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.test import AsyncRequestFactory, RequestFactory
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from pusherable.browsing import export, paging
from pusherable.browsing.export import (
    FORMATS,
    NAMES,
    chunks_of,
    csv_lines,
    json_lines,
    recorded_so_far,
    respond,
    safe,
)
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent, Delivery
from pusherable.retention.archive import COLUMNS, JSON_COLUMNS

NOON = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
FORMULAS = "=+-@＝＋－＠"  # noqa: RUF001


def read_csv(data):
    """As a spreadsheet does: the header and the rows."""
    assert data.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))


# Texts


texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(FORMULAS + "\t\r\n\"',; \u00a0"))
values = st.recursive(st.none() | st.booleans() | st.integers() | texts, st.lists, max_leaves=5)
records = st.fixed_dictionaries(
    {name: st.dictionaries(texts, values, max_size=3) if name in JSON_COLUMNS else texts for name in NAMES}
)


@given(st.lists(records, max_size=3))
def test_csv_gives_back_what_was_written_and_starts_no_formula(given):
    rows = read_csv(FORMATS["csv"].head + csv_lines(given))
    assert rows[0] == list(NAMES)
    for record, row in zip(given, rows[1:], strict=True):
        for name, cell in zip(NAMES, row, strict=True):
            value = record[name]
            assert not cell.startswith(("\t", "\r", "\n", "\0"))
            assert not cell.lstrip().startswith(tuple(FORMULAS))
            if name in JSON_COLUMNS:
                assert json.loads(cell) == value
            else:
                assert cell in (value, f"'{value}")


@given(st.lists(records, max_size=3))
def test_json_lines_give_back_what_was_written(given):
    lines = json_lines(given).decode().split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == given


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r1",
        "\n1",
        " =1",
        "\u00a0@x",
        "\uff1d1",
        "\u3000\uff0d1",
        "\0",
    ],
)
def test_what_may_be_a_formula_gets_an_apostrophe(text):
    assert safe(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["", "ada", "1-1", "a=b", "'=1", "(=1)", " x", "10.0.0.1", "2026-11-22T12:00Z"]
)
def test_other_texts_stay_as_they_are(text):
    assert safe(text) == text


@pytest.mark.parametrize("separator", [",", ";", "\t", "\n", '"', '";'])
def test_no_separator_ends_a_cell(separator):
    record = dict.fromkeys(NAMES, f"x{separator}=1+1")
    data = csv_lines([record]).decode()
    assert data.count('","') == len(NAMES) - 1
    assert data.startswith('"x')
    assert data.endswith('1"\r\n')


def test_half_a_surrogate_pair_is_written_as_json_has_it():
    record = dict.fromkeys(NAMES, "") | {"snapshot": {"text": "\ud83d ü"}}
    (row,) = csv.reader([csv_lines([record]).decode()])
    cell = row[NAMES.index("snapshot")]
    assert "ü" in cell
    assert json.loads(cell) == json.loads(json_lines([record]))["snapshot"] == record["snapshot"]


# Which events, and in which order


@pytest.fixture
def record(db):
    """Writes an event; a minute later than the one before it."""
    times = iter(range(10**6))

    def record(**fields):
        values = {"action": "view", "object_type": "testapp.poll", "object_pk": "1", "username": "ada"}
        values["occurred_at"] = NOON + dt.timedelta(minutes=next(times))
        return AccessEvent.objects.create(**values | fields)

    return record


def chunks(data=None, events=None):
    filterset = AccessEventFilter(data or {}, events)
    assert filterset.is_valid(), filterset.errors
    return chunks_of(filterset)


def exported(data=None, events=None):
    return [event for chunk in chunks(data, events) for event in chunk]


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 6, 7])
def test_all_of_them_newest_first_whatever_the_chunk(record, monkeypatch, number):
    monkeypatch.setattr(export, "CHUNK", 3)
    events = [record() for _ in range(number)]
    assert exported() == events[::-1]


@pytest.mark.parametrize("window", [1, 2, 3, 100])
@pytest.mark.parametrize(
    "data",
    [
        {"action": "update"},
        {"object_type": "testapp.poll", "object_pk": "3"},
        {"username": "eve", "action": "view"},
        {"remote_addr": "::1"},
        {"remote_addr": "none"},
        {"status": "failed"},
        {"status": "pending", "username": "ada"},
        {"status": "delivered"},
        {"status": "not broadcast"},
        {"after": "2026-11-22T12:03:00Z"},
        {"after": "2026-11-22T12:03:00Z", "before": "2026-11-22T12:15:00Z", "q": "e"},
        {"q": "e", "after_id": "0"},
    ],
    ids=str,
)
def test_what_the_filter_selects(record, monkeypatch, data, window):
    monkeypatch.setattr(export, "CHUNK", 3)
    monkeypatch.setattr(paging, "WINDOW", window)
    for number in range(20):
        event = record(
            action=["view", "update"][number % 2],
            object_pk=str(number % 4),
            username=["ada", "eve", "eva"][number % 3],
            remote_addr=["::1", "::2"][number % 2],
            channels=["poll_1"][: number % 5],
        )
        if number % 10 == 6:
            Delivery.of(event).save()
        if number % 10 == 7:
            Delivery.of(event, failed_at=timezone.now()).save()
    expected = list(AccessEventFilter(data).qs.order_by("-pk"))
    assert bool(expected) == (data != {"remote_addr": "none"})
    assert exported(data) == expected


def test_an_export_can_go_on_where_another_one_ended(record):
    events = [record() for _ in range(5)]
    rest = {"before_id": str(events[3].pk)}
    assert exported(rest) == events[2::-1]
    assert exported(rest | {"after_id": str(events[0].pk)}) == events[2:0:-1]


@pytest.mark.parametrize("data", [{}, {"after": "2026-11-01"}], ids=["by id", "by time"])
def test_what_is_recorded_meanwhile_is_not_in_it(record, monkeypatch, data):
    monkeypatch.setattr(export, "CHUNK", 2)
    events = [record() for _ in range(4)]
    rest = chunks(data, recorded_so_far(AccessEvent.objects.all()))
    record()
    found = next(rest)
    record()
    record(occurred_at=NOON - dt.timedelta(days=1))
    assert [*found, *(event for chunk in rest for event in chunk)] == events[::-1]


def test_what_goes_meanwhile_ends_nothing(record, monkeypatch):
    monkeypatch.setattr(export, "CHUNK", 2)
    events = [record() for _ in range(6)]
    rest = chunks()
    assert next(rest) == events[:3:-1]
    AccessEvent.objects.filter(pk__in=[events[4].pk, events[3].pk]).delete()
    assert [event for chunk in rest for event in chunk] == events[2::-1]


def test_what_goes_when_it_has_been_found_ends_nothing(record):
    events = [record() for _ in range(3)]

    def prune(execute, sql, params, many, context):
        if "snapshot" in sql:  # the statement that reads what has been found
            with connection.cursor() as cursor:
                cursor.cursor.execute(f"DELETE FROM pusherable_accessevent WHERE id = {events[1].pk}")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(prune):
        assert exported() == [events[2], events[0]]


def test_an_empty_log(db):
    assert exported(events=recorded_so_far(AccessEvent.objects.all())) == []


# What it costs


@pytest.mark.parametrize(
    ("data", "queries"), [({}, 2), ({"username": "ada"}, 2), ({"remote_addr": "::1"}, 2)]
)
def test_queries_of_a_chunk(record, monkeypatch, django_assert_num_queries, data, queries):
    monkeypatch.setattr(export, "CHUNK", 5)
    for number in range(20):
        Delivery.of(record(remote_addr="::1", channels=[f"c{number}"])).save()
    rest = chunks(data)
    next(rest)
    with django_assert_num_queries(queries) as captured:
        for event in next(rest):
            assert event.status == "pending"
            assert (event.snapshot, event.changes, event.context) == ({}, {}, {})
    sql = " ".join(query["sql"] for query in captured)
    assert "COUNT(" not in sql
    assert "OFFSET" not in sql


def alive():
    # Not isinstance(), which wakes the lazy objects of other tests.
    return sum(type(thing) is AccessEvent for thing in gc.get_objects())


@pytest.mark.parametrize("format_", FORMATS)
def test_memory_does_not_grow_with_the_number(record, rf, monkeypatch, format_):
    monkeypatch.setattr(export, "CHUNK", 10)
    now = timezone.now()
    AccessEvent.objects.bulk_create(
        AccessEvent(action="view", object_type="a.b", occurred_at=now) for _ in range(200)
    )
    response = respond(rf.post("/"), format_, chunks())
    gc.collect()
    before = alive()  # what other tests have left
    counts = [alive() for _part in response]
    assert len(counts) == 1 + 20 + 1
    assert max(counts) - before <= 2 * 10


# The response


def test_nothing_is_read_before_it_has_begun(record, rf, django_assert_num_queries):
    record()
    with django_assert_num_queries(0):
        response = respond(rf.post("/"), "csv", chunks())
        parts = iter(response)
        assert read_csv(next(parts)) == [list(NAMES)]
    assert next(parts).count(b"\r\n") == 1


def test_one_line_is_one_event_with_all_it_has(record, rf):
    event = record(
        object_repr="=1+1",
        context={"path": "/ü/"},
        changes={"a": [1, "x"]},
        channels=["c"],
        snapshot={"b": None},
    )
    csv_file, json_file = (b"".join(respond(rf.post("/"), name, chunks())) for name in ("csv", "jsonl"))
    line = json.loads(json_file)
    assert list(line) == [*COLUMNS, "status"]
    assert line["occurred_at"] == "2026-11-22T12:00:00.000000Z"
    assert (line["id"], line["object_repr"], line["status"]) == (event.pk, "=1+1", "delivered")
    header, row = read_csv(csv_file)
    cells = dict(zip(header, row, strict=True))
    assert cells["object_repr"] == "'=1+1"
    assert cells["context"] == '{"path": "/ü/"}'
    assert cells["occurred_at"] == line["occurred_at"]
    assert (cells["id"], cells["username"], cells["status"]) == (str(event.pk), "ada", "delivered")


def test_times_without_time_zones(record, rf, settings):
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Berlin"
    event = AccessEvent(pk=1, occurred_at=NOON.replace(tzinfo=None))
    (line,) = b"".join(respond(rf.post("/"), "jsonl", iter([[event]]))).splitlines()
    assert json.loads(line)["occurred_at"] == "2026-11-22T11:00:00.000000Z"


def fails_later():
    yield []
    raise OSError("the database is gone")


@pytest.mark.parametrize("format_", FORMATS)
def test_what_goes_wrong_breaks_the_connection(rf, format_):
    with pytest.raises(OSError, match="gone"):
        b"".join(respond(rf.post("/"), format_, fails_later()))


def test_it_streams_where_the_server_is_asynchronous():
    request = AsyncRequestFactory().post("/")
    assert isinstance(request, ASGIRequest)

    async def read():
        response = respond(request, "csv", fails_later())
        assert response.is_async
        parts = aiter(response)
        assert read_csv(await anext(parts)) == [list(NAMES)]
        assert await anext(parts) == b""
        await anext(parts)

    with pytest.raises(OSError, match="gone"):
        async_to_sync(read)()


def test_it_does_not_elsewhere():
    assert not respond(RequestFactory().post("/"), "csv", iter([])).is_async
