"""The list of events in the admin: what it shows, whom it lets in, and what it costs."""

import datetime as dt
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pusherable import paging
from pusherable.admin import AccessEventAdmin
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent, Delivery
from tests.testapp.models import Document, Place, Poll, Restaurant

pytestmark = pytest.mark.django_db

LIST = "/admin/pusherable/accessevent/"
HOSTILE = "<script>alert('x')</script>\" onload=x {{ 7 }} \u202e"


class Links(HTMLParser):
    """The links of a page, as (text, address)."""

    def __init__(self, text):
        super().__init__()
        self.found, self._address = [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self._address, self._text = dict(attrs).get("href", ""), ""

    def handle_data(self, data):
        if self._address is not None:
            self._text += data

    def handle_endtag(self, tag):
        if tag == "a":
            self.found.append((self._text.strip(), self._address))
            self._address = None


def links(response):
    return dict(Links(response.content.decode()).found)


def listed(client, address="", **data):
    """The events of a page, and the page."""
    response = client.get(f"{LIST}{address}", data or None)
    assert response.status_code == 200
    return list(response.context["cl"].result_list), response


@pytest.fixture
def browse(admin_client):
    return lambda address="", **data: listed(admin_client, address, **data)


# What it shows


def test_who_did_what_to_which_object_when_and_from_where(browse, record):
    record(username="ada", user_pk="1", action="updated", remote_addr="192.0.2.7", channels=["poll_1"])
    _events, response = browse()
    content = response.content.decode()
    for text in (
        "2026-11-22 12:00:00",
        "ada",
        "updated",
        "What&#x27;s up?",
        "testapp.poll",
        "192.0.2.7",
        "delivered",
    ):
        assert text in content
    assert links(response)["ada"] == f"{LIST}?user_pk=1"


def test_newest_first(browse, record):
    events = [record() for _ in range(3)]
    assert browse()[0] == events[::-1]


def test_visitors_and_deleted_users(browse, record):
    record()
    record(username="gone")
    response = browse()[1]
    assert "A visitor" in response.content.decode()
    assert links(response)["gone"] == f"{LIST}?username=gone"


def test_the_status_of_delivery(browse, record):
    for number, failed_at in enumerate([None, timezone.now()]):
        Delivery.of(record(channels=[f"c{number}"]), failed_at=failed_at).save()
    content = browse()[1].content.decode()
    assert "pusherable-status-pending" in content
    assert "pusherable-status-failed" in content


def test_an_empty_log(browse):
    assert "No event is listed here." in browse()[1].content.decode()


def test_hostile_values_are_text(browse, record):
    record(
        **dict.fromkeys(["object_pk", "object_repr", "user_pk", "username", "remote_addr"], HOSTILE[:45]),
        action=HOSTILE,
    )
    content = browse(username=HOSTILE[:45], x=HOSTILE)[1].content.decode() + browse()[1].content.decode()
    assert "<script>alert" not in content
    assert '" onload' not in content
    assert "&lt;script&gt;alert" in content


# Links to objects


def test_an_object_that_exists_is_linked_and_one_that_is_gone_is_text(browse, record, poll):
    record(object_pk=str(poll.pk), object_repr="here")
    record(object_pk="404", object_repr="gone")
    found = links(browse()[1])
    assert found["here"] == f"/admin/testapp/poll/{poll.pk}/change/"
    assert "gone" not in found


def test_keys_of_every_type_are_linked(browse, record, poll):
    document = Document.objects.create(title="x")
    place = Restaurant.objects.create(name="y")
    record(object_pk=str(poll.pk), object_repr="poll")
    record(object_type="testapp.document", object_pk=str(document.pk), object_repr="document")
    record(object_type="testapp.restaurant", object_pk=str(place.pk), object_repr="restaurant")
    assert {"poll", "document", "restaurant"} <= set(links(browse()[1]))


@pytest.mark.parametrize(
    ("object_type", "object_pk"),
    [
        ("gone.thing", "1"),
        ("testapp", "1"),
        ("testapp.tag", "1"),  # no page in the admin
        ("testapp.poll", "x"),
        ("testapp.poll", str(10**30)),
        ("testapp.restaurant", str(10**30)),
        ("testapp.document", "1"),
        ("testapp.poll", ""),
        ("", ""),
    ],
)
def test_what_cannot_be_linked_is_text(browse, record, object_type, object_pk):
    record(object_type=object_type, object_pk=object_pk, object_repr="it")
    _events, response = browse()
    assert "it" not in links(response)
    assert "<bdi>it</bdi>" in response.content.decode()


def test_no_link_to_what_the_reader_may_not_see(staff, record, poll):
    record(object_pk=str(poll.pk), object_repr="here")
    assert "here" not in links(listed(staff("view"))[1])


# Filters


def test_the_filter_is_in_the_address_and_in_the_form(browse, record):
    event = record(username="ada", remote_addr="::1")
    record(username="eve")
    events, response = browse(username="ada", remote_addr="::1")
    assert events == [event]
    content = response.content.decode()
    assert 'name="username" value="ada"' in content
    assert 'name="remote_addr" value="::1"' in content
    assert "<details open>" in content
    assert links(response)["Clear all filters"] == "?"


def test_what_there_is_to_choose(browse, record):
    record(action="printed", object_type="gone.thing")
    record()
    content = browse(action="shredded")[1].content.decode()
    for value in ("printed", "view", "gone.thing", "testapp.poll"):
        assert f'<option value="{value}">' in content
    assert '<option value="shredded" selected>' in content


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"after": "tomorrow"}, "Enter a date or time"),
        ({"status": "lost"}, "not one of the available choices"),
        ({"object_pk": "1"}, "Choose an object type too"),
        ({"within": "long"}, "Enter a duration"),
        ({"before_id": "x"}, "Enter a whole number"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_listed(browse, record, data, message):
    record()
    events, response = browse(**data)
    assert events == []
    assert message in response.content.decode()


def test_parameters_of_others_stay(browse, record):
    record()
    _events, response = browse("?x=1&x=2&action=view&before_id=7")
    content = response.content.decode()
    assert content.count('<input type="hidden" name="x"') == 2
    assert 'name="before_id"' not in content
    assert links(response)["Clear all filters"] == "?x=1&x=2"


@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60
)
@given(
    data=st.dictionaries(
        st.sampled_from(
            [*AccessEventFilter.base_filters, "p", "o", "all", "e", "_facets", "id__in", "username__regex"]
        ),
        st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\0%'\"<"), max_size=12)
        | st.sampled_from(["a.b", "1", "7d", "2026-11-22", "failed", "9" * 30]),
        max_size=4,
    )
)
def test_no_address_is_a_failure(admin_client, record, data):
    record()
    response = admin_client.get(LIST, data)
    assert response.status_code == 200
    filterset = AccessEventFilter(data)
    if filterset.errors:
        assert response.context["cl"].result_list == []
        assert "errorlist" in response.content.decode() or "errornote" in response.content.decode()


# Dates


def test_down_to_a_day_and_up_again(browse, record):
    record(occurred_at=dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC))
    event = record(occurred_at=dt.datetime(2026, 3, 5, 12, tzinfo=dt.UTC))
    address = ""
    for label in ("2026", "March 2026", "March 5"):
        found = links(browse(address)[1])
        address = found[label]
    events, response = browse(address)
    assert events == [event]
    found = links(response)
    assert parse_qs(found["2026"][1:]) == {"after": ["2026-01-01"], "before": ["2026-12-31"]}
    assert found["All times"] == "?"
    assert "March 2026" in found
    assert "February 2026" not in links(browse(links(browse()[1])["2026"])[1])


def test_other_filters_stay_when_a_date_is_chosen(browse, record):
    record(occurred_at=dt.datetime(2026, 3, 5, 12, tzinfo=dt.UTC), username="ada")
    found = links(browse(username="ada", within="P99Y")[1])
    assert found["2026"] == "?after=2026-01-01&before=2026-12-31&username=ada"


# Pages


def test_a_thousand_rows_deep(browse, record):
    AccessEvent.objects.bulk_create(
        AccessEvent(action="view", object_type="a.b", occurred_at=timezone.now()) for _ in range(1_000)
    )
    ids = list(AccessEvent.objects.order_by("-id").values_list("id", flat=True))
    address, seen = "", []
    while address is not None:
        events, response = browse(address)
        seen += [event.pk for event in events]
        address = links(response).get("Older")
    assert seen == ids
    assert len(events) == 50
    newer, _response = browse(links(response)["Newer"])
    assert [event.pk for event in newer] == ids[-100:-50]
    assert [event.pk for event in browse(links(response)["Newest"])[0]] == ids[:50]


def test_links_between_pages_keep_the_filter(browse, record):
    for _ in range(51):
        record(username="ada")
    older = links(browse(username="ada", x="1")[1])["Older"]
    assert set(parse_qs(urlsplit(older).query)) == {"username", "x", "before_id"}
    newest = links(browse(older)[1])["Newest"]
    assert set(parse_qs(urlsplit(newest).query)) == {"username", "x"}


def test_a_page_says_how_far_it_has_looked(browse, record, monkeypatch):
    monkeypatch.setattr(paging, "WINDOW", 2)
    events = [record(remote_addr="::1"), record(), record()]
    found, response = browse(remote_addr="::1")
    assert found == []
    assert "2 events were looked through" in response.content.decode()
    assert browse(links(response)["Older"])[0] == events[:1]


# What it costs


QUESTIONS = [
    {},
    {"username": "ada"},
    {"remote_addr": "none"},
    {"status": "failed"},
    {"before_id": "900"},
    {"after": "2026-01-01", "before": "2026-12-31", "action": "view", "q": "x"},
]


@pytest.mark.parametrize("data", QUESTIONS, ids=str)
def test_at_most_five_queries(admin_client, record, poll, data, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(paging, "WINDOW", 3)
    for number in range(60):
        record(object_pk=str(poll.pk), username="ada", channels=["c"])
        record(object_type="testapp.document", object_pk=f"{number}", username="ada")
        record(object_type="testapp.restaurant", object_pk=f"{number}", username="ada")
    with django_assert_max_num_queries(5 + 2) as captured:  # session and user
        admin_client.get(LIST, data)
    sql = " ".join(query["sql"] for query in captured)
    assert "COUNT(" not in sql
    assert "DISTINCT" not in sql


def test_the_first_page_takes_three_queries(admin_client, record, poll, django_assert_num_queries):
    for _ in range(60):
        record(object_pk=str(poll.pk))
    with django_assert_num_queries(
        3 + 2
    ):  # the page, its links and what there is to choose; session and user
        admin_client.get(LIST)


def test_the_number_of_models_does_not_matter(admin_client, record, poll):
    with CaptureQueriesContext(connection) as one:
        record(object_pk=str(poll.pk))
        admin_client.get(LIST)
    Document.objects.create(title="x")
    for object_type in ("testapp.document", "testapp.restaurant"):
        record(object_type=object_type, object_pk="00000000-0000-0000-0000-000000000001")
        record(object_type=object_type, object_pk="1")
    with CaptureQueriesContext(connection) as more:
        record()
        admin_client.get(LIST)
    assert len(more) == len(one)
    assert Place.objects.count() == 0


# Who may


@pytest.mark.parametrize("permissions", [(), ("export", "replay")])
def test_without_permission_there_is_no_log(staff, record, permissions):
    event = record()
    client = staff(*permissions)
    for address in (LIST, f"{LIST}{event.pk}/change/", f"{LIST}{event.pk}/history/"):
        assert client.get(address).status_code == 403


def test_who_is_no_staff_has_to_sign_in(client, staff, record):
    record()
    assert client.get(LIST).status_code == 302
    assert staff("view", is_staff=False).get(LIST).status_code == 302


def test_with_permission_it_can_be_read(staff, record):
    event = record()
    assert listed(staff("view"))[0] == [event]


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("address", ["add/", "{}/delete/"])
def test_nobody_adds_or_deletes(admin_client, record, method, address):
    event = record()
    assert getattr(admin_client, method)(LIST + address.format(event.pk), {"post": "yes"}).status_code == 403
    assert AccessEvent.objects.count() == 1


def test_no_action_changes_anything(admin_client, record):
    event = record()
    data = {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"}
    admin_client.post(LIST, data)
    assert AccessEvent.objects.get() == event
    content = admin_client.get(LIST).content.decode()
    assert "_selected_action" not in content
    assert f"{LIST}add/" not in content


def test_not_even_with_every_permission_there_is(rf, record):
    request = rf.get("/")
    request.user = User(is_superuser=True, is_active=True)
    model_admin, event = AccessEventAdmin(AccessEvent, admin.site), record()
    assert not model_admin.has_add_permission(request)
    assert not model_admin.has_change_permission(request, event)
    assert not model_admin.has_delete_permission(request, event)
    assert model_admin.get_actions(request) == {}


@pytest.mark.parametrize("name", ["export", "replay"])
def test_permissions_of_their_own(rf, staff, name):
    request = rf.get("/")
    model_admin = AccessEventAdmin(AccessEvent, admin.site)
    staff(name)
    request.user = User.objects.get()
    assert getattr(model_admin, f"has_{name}_permission")(request)
    other = {"export": "replay", "replay": "export"}[name]
    assert not getattr(model_admin, f"has_{other}_permission")(request)


# Markup


def test_nothing_is_inline(browse, record):
    record()
    content = browse()[1].content.decode()
    assert " style=" not in content
    assert "<style" not in content
    assert " onclick=" not in content
    assert all("src=" in part.split(">")[0] for part in content.split("<script")[1:])
    assert "pusherable/admin.css" in content


def test_site_has_nothing_to_complain_about():
    assert AccessEventAdmin(AccessEvent, admin.site).check() == []
    assert Poll in admin.site._registry
