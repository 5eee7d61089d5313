"""The charts of the list: for whom, of what, and as which page."""

import pytest

from pusherable.models import AccessEvent
from tests.admin.pages import LIST, Links, links
from tests.admin.test_hostile import Elements, named
from tests.hostile import PIECES

pytestmark = pytest.mark.django_db

CHARTS = f"{LIST}charts/"
FETCHED = {"X-Requested-With": "XMLHttpRequest"}


@pytest.fixture
def fetch(admin_client):
    def fetch(**data):
        return admin_client.get(CHARTS, data, headers=FETCHED)

    return fetch


def test_whoever_may_read_the_log_sees_its_charts(staff, record):
    record()
    assert staff("view").get(CHARTS, headers=FETCHED).status_code == 200


@pytest.mark.parametrize("permissions", [(), ("export", "replay")])
def test_and_nobody_else(staff, record, permissions):
    record()
    assert staff(*permissions).get(CHARTS).status_code == 403


def test_who_is_no_staff_has_to_sign_in(client):
    assert client.get(CHARTS).status_code == 302


def test_the_list_leads_to_the_charts_of_all_its_events(admin_client, record):
    event = record(username="ada")
    response = admin_client.get(LIST, {"username": "ada", "before_id": event.pk + 1})
    assert f'data-url="{(url := "charts/?username=ada")}"' in response.content.decode()
    assert links(response)["Charts of these events"] == url
    assert "pusherable/admin.js" in response.content.decode()


def test_those_of_the_filter(fetch, record):
    for username in ["ada", "ada", "eve"]:
        record(username=username)
    found = fetch(username="ada")
    assert "all 2 events" in found.content.decode()
    assert links(found)["ada"] == f"{LIST}?username=ada"


def test_an_anomaly_in_words(fetch, record):
    for number in range(40):
        record(username="eve", object_pk=str(number))
    text = " ".join(fetch().content.decode().split())
    assert "40 different objects." in text
    assert "12:00 and 13:00 on Nov. 22, 2026</a>: 40." in text
    assert 'aria-labelledby="pusherable-by-time pusherable-most"' in text


def test_a_link_keeps_the_rest_of_the_filter(fetch, record):
    record(username="ada")
    record(username="ada")
    found = Links(fetch(action="view", before_id="5").content.decode()).found
    assert all(url.startswith(f"{LIST}?action=view&") for _text, url in found)
    assert len(found) == 5  # the highest bar, its row in the table, the user, the hour there, and the object


@pytest.mark.parametrize("data", [{"after": "tomorrow"}, {"before_id": "x"}, {"status": "lost"}], ids=str)
def test_an_invalid_filter_has_no_charts(fetch, record, data):
    record()
    response = fetch(**data)
    assert response.status_code == 200
    assert "There are no charts" in response.content.decode()
    assert "<svg" not in response.content.decode()


def test_nothing_to_chart(fetch):
    assert fetch().content.decode().strip() == "<p>There is no event to chart.</p>"


def test_what_was_looked_through_in_vain(fetch, record, monkeypatch):
    monkeypatch.setattr("pusherable.browsing.paging.WINDOW", 2)
    for _ in range(3):
        record()
    assert "2 events were looked through" in fetch(remote_addr="::1").content.decode()


def test_what_was_looked_through(fetch, record, monkeypatch):
    monkeypatch.setattr("pusherable.browsing.paging.WINDOW", 3)
    for address in ["::1", "", "::1", "::1"]:
        record(remote_addr=address)
    content = fetch(remote_addr="::1").content.decode()
    assert "the 2 events that the filter selects of the newest 3" in content
    assert "the newest 3 of these events" in fetch().content.decode()


def test_a_part_of_a_page(fetch, record):
    record()
    content = fetch().content.decode()
    assert "<html" not in content
    assert "style=" not in content
    assert "<script" not in content


def test_a_page_of_its_own(admin_client, record):
    record()
    response = admin_client.get(CHARTS, {"action": "view"})
    content = response.content.decode()
    assert "<title>Charts of access events" in content
    assert "pusherable/charts.css" in content
    assert links(response)["Back to the list"] == f"{LIST}?action=view"


def test_numbers_are_those_of_svg_in_every_language(fetch, record, settings):
    record()
    settings.LANGUAGE_CODE, settings.USE_THOUSAND_SEPARATOR = "de", True
    assert 'width="3.50%"' in fetch().content.decode()


def test_it_costs_three_queries_at_most(fetch, record, django_assert_num_queries):
    for _ in range(30):
        record(username="ada")
    with django_assert_num_queries(1 + 2):  # session and user
        fetch()
    with django_assert_num_queries(3 + 2 + 2):  # whether the search was recorded with the list; it was not
        fetch(username="ada", within="P9Y", q="x")
    with django_assert_num_queries(3 + 2 + 1):
        fetch(username="ada", within="P9Y", q="x")


def test_looking_at_it_leaves_no_trace(fetch, record):
    record()
    fetch(username="")
    assert AccessEvent.objects.count() == 1


@pytest.mark.parametrize("text", PIECES, ids=range(len(PIECES)))
def test_whatever_things_are_called(fetch, text):
    pages = []
    for name in ("x", text):
        AccessEvent.objects.all().delete()
        AccessEvent.objects.create(**named(name))
        pages.append(Elements(fetch()).counts)
    assert pages[0] == pages[1]
