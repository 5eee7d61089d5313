"""That the admin records who reads the log in it."""

import pytest
from django.db import DatabaseError
from freezegun import freeze_time

from pusherable.models import AccessEvent
from tests.admin.conftest import NOON
from tests.admin.pages import LIST, links, listed

pytestmark = pytest.mark.django_db


def readings():
    events = AccessEvent.objects.filter(object_type="pusherable.accessevent").order_by("id")
    return [(event.username, event.action, event.object_pk) for event in events]


def test_opening_an_event(staff, record):
    event = record()
    client = staff("view")
    assert client.get(f"{LIST}{event.pk}/change/").status_code == 200
    assert readings() == [("staff", "view", str(event.pk))]


def test_looking_at_the_list_is_no_search(staff, record):
    record()
    listed(staff("view"))
    assert readings() == []


def test_each_page_of_a_search_is_recorded(staff, record):
    for _ in range(51):
        record(username="ada")
    client = staff("view")
    _events, response = listed(client, username="ada")
    listed(client, links(response)["Older"])
    assert readings() == [("staff", "search", "")] * 2
    older, first = (event.context["query"] for event in AccessEvent.objects.newest()[:2])
    assert first == {"username": "ada"}
    assert older.keys() == {"username", "before_id"}


def test_the_charts_of_a_list_are_part_of_its_search(staff, record):
    record(username="ada")
    with freeze_time(NOON) as clock:
        client = staff("view")
        listed(client, username="ada", before_id="2000")
        clock.tick(540)
        client.get(f"{LIST}charts/", {"username": "ada"})
        client.get(f"{LIST}charts/")
        assert readings() == [("staff", "search", "")]


@pytest.mark.parametrize(
    ("searched", "seconds", "asked"),
    [
        ({}, 0, {"username": "ada"}),
        ({"username": "eve"}, 0, {"username": "ada"}),
        ({"q": "a"}, 601, {"q": "a"}),
    ],
    ids=str,
)
def test_charts_alone_are_a_search(staff, record, searched, seconds, asked):
    record(username="ada")
    with freeze_time(NOON) as clock:
        client = staff("view")
        listed(client, **searched)
        before = len(readings())
        clock.tick(seconds)
        client.get(f"{LIST}charts/", asked)
    assert len(readings()) == before + 1
    assert AccessEvent.objects.newest()[0].context["query"] == asked


def test_after_a_search_of_something_else_they_are_one(staff, record):
    client = staff("view")
    with freeze_time(NOON):
        record(user_pk=client.session["_auth_user_id"], action="search", context={"query": "harbour"})
        client.get(f"{LIST}charts/", {"username": "ada"})
    assert readings() == [("staff", "search", "")]


def test_a_search_does_not_find_itself(staff):
    events, _response = listed(staff("view"), action="search")
    assert events == []
    assert readings() == [("staff", "search", "")]


@pytest.mark.parametrize("address", ["?username=ada", "{}/change/"])
def test_what_is_refused_is_not_recorded(staff, record, address):
    event = record()
    assert staff().get(LIST + address.format(event.pk)).status_code == 403
    assert readings() == []


@pytest.mark.parametrize("address", ["?username=ada", "{}/change/"])
def test_who_only_asks_whether_it_is_there_has_read_nothing(staff, record, address):
    event = record()
    assert staff("view").head(LIST + address.format(event.pk)).status_code == 200
    assert readings() == []


@pytest.mark.parametrize("address", ["?status=lost", "404/change/"])
def test_nor_where_there_is_nothing_to_read(staff, record, address):
    record()
    staff("view").get(LIST + address)
    assert readings() == []


def test_what_is_done_with_a_selection_is_no_search(staff, record):
    event = record(channels=["poll_1"])
    data = {"action": "send_again", "index": 0, "_selected_action": [event.pk]}
    assert staff("view", "replay").post(f"{LIST}?username=ada", data).status_code == 302
    assert readings() == []


def test_the_recording_can_be_read_and_is_not_recorded(staff, record):
    event = record()
    client = staff("view")
    client.get(f"{LIST}{event.pk}/change/")
    listed(client, action="view", object_type="pusherable.accessevent")
    opening, search = AccessEvent.objects.filter(object_type="pusherable.accessevent").order_by("id")
    for reading, text in ((opening, "opened an event of the log"), (search, "pusherable.accessevent")):
        response = client.get(f"{LIST}{reading.pk}/change/")
        assert text in response.content.decode()
    assert len(readings()) == 2
    assert links(listed(client)[1])[str(event)] == f"{LIST}{event.pk}/change/"


def test_where_it_is_not_wanted(staff, record, settings):
    settings.PUSHERABLE_RECORD_READING = False
    event = record()
    client = staff("view")
    client.get(f"{LIST}{event.pk}/change/")
    listed(client, username="ada")
    assert readings() == []


@pytest.mark.parametrize("address", ["?username=ada", "{}/change/"])
def test_what_cannot_be_recorded_is_not_shown(staff, record, address, monkeypatch, settings):
    event = record()
    client = staff("view")

    def fail(event, using):
        raise DatabaseError("full")

    monkeypatch.setattr("pusherable.recording._write", fail)
    with pytest.raises(DatabaseError, match="full"):
        client.get(LIST + address.format(event.pk))
    settings.PUSHERABLE_ON_ERROR = "log"
    assert client.get(LIST + address.format(event.pk)).status_code == 200
