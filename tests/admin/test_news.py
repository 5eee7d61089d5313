"""The list of events hears of new ones: whose, where, and how many there are."""

from html.parser import HTMLParser

import pytest
from django.contrib import admin
from django.urls import include, path
from django.utils import translation

from pusherable.admin import AccessEventAdmin
from pusherable.channels import FEED
from pusherable.models import AccessEvent
from tests.admin.pages import LIST

NEWS = f"{LIST}news/"


class OnlyPolls(AccessEventAdmin):
    def get_queryset(self, request):
        return super().get_queryset(request).filter(object_type="testapp.poll")


narrow = admin.AdminSite()
narrow.register(AccessEvent, OnlyPolls)
urlpatterns = [path("admin/", admin.site.urls), path("pusherable/", include("pusherable.urls"))]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _feed(settings):
    settings.ROOT_URLCONF = __name__
    settings.PUSHERABLE_FEED = True


class Elements(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found = {}
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.setdefault(tag, []).append(dict(attributes))


def element(client, **data):
    found = Elements(client.get(LIST, data).text).found
    [news] = found.get("pusherable-news", [None])
    scripts = [each["src"].rpartition("/")[2] for each in found["script"] if "src" in each]
    assert "admin-live.js" in scripts
    assert ("pusherable.js" in scripts) == bool(news)
    return news


# Where


def test_the_list_of_all_events_hears_of_new_ones(staff, record):
    client = staff("view")
    found = {"data-channel": FEED, "data-url": "news/", "data-first": "0", "data-shown": "0"}
    assert element(client) == found
    for number in range(60):
        record(id=999 + number)
    assert element(client) == found | {"data-first": "1009", "data-shown": "50"}
    assert element(client, username="", before_id="") is not None


@pytest.mark.parametrize(
    "data", [{"username": "ada"}, {"before_id": "1000"}, {"after_id": "1"}, {"action": "\0"}], ids=str
)
def test_other_pages_do_not(staff, record, data):
    record(id=5)
    assert element(staff("view"), **data) is None


@pytest.mark.parametrize(
    "setting",
    [{"PUSHERABLE_FEED": False}, {"PUSHER_KEY": None}, {"ROOT_URLCONF": "tests.admin.urls"}],
    ids=lambda setting: next(iter(setting)),
)
def test_nor_does_it_where_nothing_can_be_heard(settings, staff, setting):
    for name, value in setting.items():
        setattr(settings, name, value)
    assert element(staff("view")) is None


def test_each_row_names_its_event(admin_client, record, settings):
    settings.USE_THOUSAND_SEPARATOR = True
    event = record(id=1_234_567)
    with translation.override("de"):
        times = Elements(admin_client.get(LIST).text).found["time"]
    assert [time["data-event-id"] for time in times] == [str(event.pk)]


# How many


def test_how_many_there_are(staff, record):
    client = staff("view")
    events = [record() for _ in range(160)]
    told = [
        client.get(NEWS, {"first": events[0].pk, "shown": shown}).text
        for shown in (160, 159, 157, 61, 60, 50, 161)
    ]
    assert told == [
        "",
        "1 new event",
        "3 new events",
        "99 new events",
        "More than 99 new events",
        "More than 99 new events",
        "",  # one has been pruned
    ]
    assert client.get(NEWS, {"first": 10**30, "shown": 0}).text == ""


def test_those_that_a_page_does_not_show(staff, record):
    """Whatever their ids: an event whose transaction took longer has a lower one."""
    client = staff("view")
    events = [record(id=1_000 + 2 * number) for number in range(60)]
    page = element(client)
    asked = {"first": page["data-first"], "shown": page["data-shown"]}
    assert client.get(NEWS, asked).text == ""
    record(id=1_001)  # on a later page
    assert client.get(NEWS, asked).text == ""
    record(id=events[-1].pk - 1)
    assert client.get(NEWS, asked).text == "1 new event"
    record()
    assert client.get(NEWS, asked).text == "2 new events"


def test_one_query_for_no_more_than_it_needs(staff, record, django_assert_num_queries):
    client = staff("view")
    record()
    with django_assert_num_queries(1 + 4) as captured:  # session, user, and the user's permissions
        client.get(NEWS, {"first": 0, "shown": 50})
    sql = captured.captured_queries[-1]["sql"]
    assert "COUNT(" not in sql
    assert "LIMIT 150" in sql


def test_only_those_that_the_reader_may_see(settings, staff, record):
    settings.ROOT_URLCONF = (path("admin/", narrow.urls),)
    record(), record(object_type="testapp.page"), record()
    assert staff("view").get(NEWS, {"first": 0, "shown": 0}).text == "2 new events"


@pytest.mark.parametrize("wrong", ["", "x", "-1", "1.5", None])
@pytest.mark.parametrize("name", ["first", "shown"])
def test_what_is_no_number(admin_client, name, wrong):
    data = {"first": "0", "shown": "50"} | {name: wrong}
    assert (
        admin_client.get(NEWS, {key: text for key, text in data.items() if text is not None}).status_code
        == 400
    )


def test_nobody_shows_so_many(admin_client):
    assert admin_client.get(NEWS, {"first": 0, "shown": 10**6}).status_code == 400


def test_who_may_ask(client, staff, record):
    asked = {"first": 0, "shown": 0}
    assert client.get(NEWS, asked).status_code == 302
    assert staff("export").get(NEWS, asked).status_code == 403
    other = staff("view", username="reader")
    assert other.post(NEWS, asked).status_code == 405
    assert "no-store" in other.get(NEWS, asked)["Cache-Control"]
