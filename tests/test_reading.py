"""That reading the log is an access, too."""

import logging

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils.html import strip_tags

from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent, Action, Delivery
from pusherable.reading import LENGTH, record_export, record_export_of, record_opening, record_search
from pusherable.recording import record_access

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_of(rf):
    """A request of Ada's, from the browser of the tests."""
    user = User.objects.create_user("ada")

    def request_of(method="get"):
        request = getattr(rf, method)("/log/", headers={"user-agent": "tests"})
        request.user = user
        return request

    return request_of


@pytest.fixture
def event(poll):
    return record_access(poll, "view")


def asked(**data):
    return AccessEventFilter(data)


def readings():
    return list(AccessEvent.objects.filter(object_type="pusherable.accessevent").order_by("id"))


def test_who_opened_an_event(request_of, event):
    record_opening(request_of(), event)
    (reading,) = readings()
    assert reading.action == Action.VIEW
    assert (reading.object_pk, reading.object_repr) == (str(event.pk), str(event))
    assert (reading.username, reading.remote_addr) == ("ada", "127.0.0.1")
    assert reading.context["path"] == "/log/"
    assert reading.snapshot == {}


def test_what_somebody_searched_for(request_of):
    record_search(request_of(), asked(username="eve", within="7d", q="", page="2"))
    (reading,) = readings()
    assert (reading.action, reading.object_pk) == (Action.SEARCH, "")
    assert reading.context["query"] == {"username": "eve", "within": "7d"}
    assert reading.context["user_agent"] == "tests"


def test_the_parameters_of_an_address(request_of):
    record_search(request_of(), AccessEventFilter(QueryDict("action=view&action=updated")))
    assert readings()[0].context["query"] == {"action": "updated"}


@pytest.mark.parametrize("cursor", ["before_id", "after_id"])
def test_a_page_of_a_search_wherever_it_begins(request_of, cursor):
    """Or else whoever adds a cursor to the address would read unseen."""
    record_search(request_of(), asked(username="eve", **{cursor: "7"}))
    assert readings()[0].context["query"] == {"username": "eve", cursor: "7"}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"q": "", "other": "1"},
        {"before_id": "7"},
        {"before_id": "7", "after_id": "9"},
        {"after": "tomorrow"},
        {"username": "eve", "status": "lost"},
    ],
    ids=str,
)
def test_what_is_no_search(request_of, data):
    record_search(request_of(), asked(**data))
    assert readings() == []


def test_a_parameter_is_cut_and_storable(request_of):
    record_search(request_of(), asked(q="x" * 10_000))
    assert readings()[0].context["query"] == {"q": "x" * LENGTH}


def test_what_somebody_took_away(request_of, event):
    record_export(request_of("post"), asked(action="view", before_id="7"), "csv")
    record_export(request_of("post"), asked(), "jsonl")
    record_export_of(request_of("post"), [event], "jsonl")
    filtered, everything, selected = readings()
    assert {reading.action for reading in readings()} == {Action.EXPORT}
    assert filtered.context["query"] == {"action": "view", "before_id": "7"}
    assert (filtered.context["format"], filtered.context["method"]) == ("csv", "POST")
    assert (everything.context["query"], everything.context["format"]) == ({}, "jsonl")
    assert selected.context["selected"] == [event.pk]


def test_nothing_is_taken_away_by_a_filter_that_is_wrong(request_of):
    record_export(request_of("post"), asked(status="lost"), "csv")
    assert readings() == []


def test_the_recording_is_not_recorded(request_of, event):
    record_opening(request_of(), event)
    (reading,) = readings()
    record_opening(request_of(), reading)
    assert readings() == [reading]


def test_it_is_never_broadcast(request_of, event, sent, settings, django_capture_on_commit_callbacks):
    settings.PUSHERABLE_CHANNELS = "private"
    Delivery.objects.all().delete()
    with django_capture_on_commit_callbacks(execute=True):
        record_opening(request_of(), event)
        record_search(request_of(), asked(username="eve"))
        record_export(request_of(), asked(), "csv")
    assert [reading.channels for reading in readings()] == [[], [], []]
    assert not Delivery.objects.exists()
    assert sent == []


def test_where_it_is_not_wanted(request_of, event, settings):
    settings.PUSHERABLE_RECORD_READING = False
    record_opening(request_of(), event)
    record_search(request_of(), asked(username="eve"))
    record_export(request_of(), asked(), "csv")
    record_export_of(request_of(), [event], "csv")
    assert readings() == []


def test_who_only_asks_whether_it_is_there_has_read_nothing(request_of, event):
    record_opening(request_of("head"), event)
    record_search(request_of("head"), asked(username="eve"))
    assert readings() == []


def test_a_project_may_keep_words_of_a_query_out_of_the_log(request_of, settings):
    settings.PUSHERABLE_REDACT = ["remote_addr"]
    record_search(request_of(), asked(remote_addr="192.0.2.7", action="view"))
    assert readings()[0].context["query"] == {"action": "view"}


@pytest.mark.django_db(transaction=True)
def test_reading_that_cannot_be_recorded(request_of, without_table, settings, caplog):
    request = request_of()
    without_table("pusherable_accessevent")
    with pytest.raises(DatabaseError):
        record_search(request, asked(username="eve"))
    settings.PUSHERABLE_ON_ERROR = "log"
    with caplog.at_level(logging.ERROR):
        record_search(request, asked(username="eve"))
    assert "could not be recorded" in caplog.text


def test_it_is_told_in_sentences(request_of, event):
    record_opening(request_of(), event)
    record_search(request_of(), asked(username="eve"))
    record_export(request_of(), asked(), "csv")
    told = [strip_tags(render_to_string("pusherable/sentence.html", {"event": one})) for one in readings()]
    assert [sentence.strip() for sentence in told] == [
        f"ada opened an event of the log: - view testapp.poll {event.object_pk}",
        "ada searched the log",
        "ada exported events from the log",
    ]
