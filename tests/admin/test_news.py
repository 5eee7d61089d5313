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


def told(client, known):
    response = client.get(NEWS, {"known": known})
    assert response.status_code == 200
    return response.text


# Where


def test_the_list_of_all_events_hears_of_new_ones(staff, record):
    client = staff("view")
    assert element(client) == {"data-channel": FEED, "data-url": "news/", "data-known": "0"}
    events = [record(id=999 + number) for number in range(60)]
    assert element(client)["data-known"] == str(events[-1].pk) == "1058"
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


def test_how_many_there_are(staff, record, django_assert_num_queries):
    client = staff("view")
    events = [record() for _ in range(101)]
    known = [event.pk for event in reversed(events)]
    assert [told(client, known[count]) for count in (0, 1, 3, 99, 100)] == [
        "",
        "1 new event",
        "3 new events",
        "99 new events",
        "More than 99 new events",
    ]
    assert told(client, 10**30) == ""
    with django_assert_num_queries(1 + 4) as captured:  # session, user, and the user's permissions
        assert told(client, 0) == "More than 99 new events"
    sql = captured.captured_queries[-1]["sql"]
    assert "COUNT(" not in sql
    assert "LIMIT 100" in sql


def test_only_those_that_the_reader_may_see(settings, staff, record):
    settings.ROOT_URLCONF = (path("admin/", narrow.urls),)
    record(), record(object_type="testapp.page"), record()
    assert told(staff("view"), 0) == "2 new events"


@pytest.mark.parametrize("known", ["", "x", "-1", "1.5", None])
def test_what_is_no_id(admin_client, known):
    data = {} if known is None else {"known": known}
    assert admin_client.get(NEWS, data).status_code == 400


def test_who_may_ask(client, staff, record):
    assert client.get(NEWS, {"known": 0}).status_code == 302
    assert staff("export").get(NEWS, {"known": 0}).status_code == 403
    other = staff("view", username="reader")
    assert other.post(NEWS, {"known": 0}).status_code == 405
    assert "no-store" in other.get(NEWS, {"known": 0})["Cache-Control"]
