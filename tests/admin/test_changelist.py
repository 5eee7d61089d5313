"""The list of events in the admin: what it shows, whom it lets in, and what it costs."""

import datetime as dt
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pusherable.admin import AccessEventAdmin
from pusherable.browsing import paging
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent, Delivery
from tests.admin.pages import LIST, links
from tests.testapp.models import Poll

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert('x')</script>\" onload=x {{ 7 }} \u202e"


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


@hypothesis_settings(max_examples=60)
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
