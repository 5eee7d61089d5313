"""The activity page: the log outside the admin, for whoever may see it."""

import datetime as dt
import json
from urllib.parse import parse_qs, unquote

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import include, path, resolve, reverse
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from pusherable.browsing import paging
from pusherable.models import AccessEvent
from pusherable.snapshots import clean, object_key
from tests.admin.pages import Links
from tests.admin.test_hostile import Elements
from tests.hostile import PIECES, hundred
from tests.templatetags.html import Parser
from tests.templatetags.test_activity import write_catalogue
from tests.testapp.models import Page, Seat

PAGE = "/log/activity/"
NOON = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
LOG = path("log/", include("pusherable.urls"))

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _site(settings):
    settings.ROOT_URLCONF = (LOG, path("admin/", admin.site.urls))
    settings.PUSHERABLE_RECORD_READING = False


@pytest.fixture
def log():
    """Writes events, the oldest first."""

    def log(number=1, **fields):
        values = {
            "action": "view",
            "object_type": "testapp.poll",
            "object_pk": "1",
            "object_repr": "What's up?",
        }
        values |= {"username": "ada", "user_pk": "1", "occurred_at": NOON} | fields
        events = [AccessEvent(**values) for _ in range(number)]
        for event in events:
            event.save()
        return events

    return log


def signed_in(*permissions, **fields):
    user = User.objects.create(**{"username": "reader"} | fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def reader():
    return signed_in("view_accessevent")


def get(client, address="", **data):
    response = client.get(PAGE + address, data or None)
    assert response.status_code == 200
    return response


def shown(response):
    """The ids of the events of a page, the newest first."""
    items = [attributes for tag, attributes in Parser(response.content.decode()).elements if tag == "li"]
    return [int(pk) for attributes in items for pk in attributes.get("data-events", "").split()]


def links(response):
    return dict(Links(response.content.decode()).found)


def ids(events):
    return [event.pk for event in reversed(events)]


# Who may see it

ADDRESSES = ["", "testapp.poll/1/"]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("required", [False, True])
def test_who_is_not_signed_in_is_sent_to_do_so(client, settings, address, required):
    if required:
        middleware = "django.contrib.auth.middleware.LoginRequiredMiddleware"
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, middleware]
    response = client.get(PAGE + address)
    assert response.status_code == 302
    assert response.url == f"/accounts/login/?next={PAGE}{address}"


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    ("permissions", "fields", "status"),
    [
        ((), {}, 403),
        ((), {"is_staff": True}, 403),
        (("export_accessevent", "replay_accessevent", "view_poll"), {}, 403),
        (("view_accessevent",), {}, 200),
        ((), {"is_superuser": True}, 200),
    ],
    ids=str,
)
def test_it_takes_the_permission(log, address, permissions, fields, status):
    log()
    client = signed_in(*permissions, **fields)
    response = client.get(PAGE + address)
    assert response.status_code == status
    assert "ada" not in response.content.decode() or status == 200
    assert client.post(PAGE + address).status_code in {403, 405}


def test_nobody_keeps_a_copy(reader):
    assert "no-store" in get(reader).headers["Cache-Control"]


# What it shows


def test_the_events_newest_first(reader, log):
    events = [*log(username="eve"), *log(action="updated"), *log(action="updated")]
    response = get(reader)
    assert shown(response) == ids(events)
    content = response.content.decode()
    assert "<title>Activity</title>" in content
    assert "<bdi>ada</bdi> changed <bdi>What&#x27;s up?</bdi>" in content
    # A script makes the other lists tell how long ago it was; the log has the time.
    assert content.count('<time class="pusherable-activity-moment" datetime="2026-11-22T12:00:00+0000">') == 3
    assert "Nov. 22, 2026, noon" in content


def test_what_was_opened_again_and_again_is_one_item(reader, log):
    events = [*log(remote_addr="192.0.2.7"), *log(2, remote_addr="::1")]
    response = get(reader)
    assert shown(response) == ids(events)
    content = response.content.decode()
    assert content.count("pusherable-activity-item") == 1
    assert "<bdi>What&#x27;s up?</bdi> 3 times" in content
    assert '<bdi dir="ltr">192.0.2.7</bdi>' in content
    assert '<bdi dir="ltr">::1</bdi>' in content


def test_an_empty_log(reader):
    assert "No event is listed here." in get(reader).content.decode()


@pytest.mark.parametrize(("fields", "is_linked"), [({"is_staff": True}, True), ({}, False)])
def test_an_event_leads_to_its_page_in_the_admin_where_the_reader_has_one(log, settings, fields, is_linked):
    [event] = log()
    client = signed_in("view_accessevent", **fields)
    name = f"Event {event.pk}"
    expected = f"/admin/pusherable/accessevent/{event.pk}/change/"
    assert (links(get(client)).get(name) == expected) is is_linked
    settings.ROOT_URLCONF = (LOG,)
    assert name not in links(get(client))


# Filters


def test_the_filter_is_in_the_address_and_in_the_form(reader, log):
    log(username="eve")
    events = log(2, remote_addr="::1")
    response = get(reader, username="ada", remote_addr="::1", x="7")
    assert shown(response) == ids(events)
    content = response.content.decode()
    assert 'name="username" value="ada"' in content
    assert '<input type="hidden" name="x" value="7">' in content
    assert "<details open>" in content
    assert links(response)["Clear all filters"] == "?x=7"
    assert "Clear all filters" not in links(get(reader, x="7", before_id="9"))


def test_what_there_is_to_choose(reader, log):
    log(action="printed", object_type="gone.thing")
    content = get(reader).content.decode()
    for value in ("printed", "gone.thing"):
        assert f'<option value="{value}">' in content


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"after": "tomorrow"}, "Enter a date or time"),
        ({"object_pk": "1"}, "Choose an object type too"),
        ({"before_id": "x"}, "Enter a whole number"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_listed(reader, log, data, message):
    log()
    response = get(reader, **data)
    assert shown(response) == []
    content = response.content.decode()
    assert message in content
    assert "Nothing is listed, because" in content
    assert "No event is listed here." not in content


def test_down_to_a_day_and_up_again(reader, log):
    log(occurred_at=dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC))
    events = log(occurred_at=dt.datetime(2026, 3, 5, 12, tzinfo=dt.UTC))
    address = ""
    for label in ("2026", "March 2026", "March 5"):
        address = links(get(reader, address))[label]
    response = get(reader, address)
    assert shown(response) == ids(events)
    assert links(response)["All times"] == "?"


# Pages


def test_from_the_newest_to_the_oldest_and_back(reader, log):
    for number in range(90):
        log(1 + number % 4, object_pk=str(number), username="ada" if number % 3 else "")
    every = list(AccessEvent.objects.newest().values_list("pk", flat=True))

    def walk(label, address):
        pages = []
        while address is not None:
            response = get(reader, address)
            pages.append(shown(response))
            address = links(response).get(label)
        return pages, response

    pages, last = walk("Older", "")
    assert [pk for page in pages for pk in page] == every
    assert len(pages[0]) == paging.SIZE
    back, _first = walk("Newer", links(last)["Newer"])
    # An empty page says that there is nothing newer.
    assert [page for page in back[::-1] if page] == pages[:-1]
    assert shown(get(reader, links(last)["Newest"])) == pages[0]


def test_links_between_pages_keep_the_filter(reader, log):
    log(51)
    found = links(get(reader, username="ada", x="1"))
    assert set(parse_qs(found["Older"][1:])) == {"username", "x", "before_id"}


def test_a_page_says_how_far_it_has_looked(reader, log, monkeypatch):
    monkeypatch.setattr(paging, "WINDOW", 2)
    events = [*log(remote_addr="::1"), *log(2)]
    response = get(reader, remote_addr="::1")
    assert shown(response) == []
    assert "2 events were looked through" in response.content.decode()
    assert shown(get(reader, links(response)["Older"])) == ids(events[:1])


# Of an object


def test_an_object_has_a_page_of_its_own(reader, log):
    log(object_pk="2")
    log(object_type="testapp.page")
    events = [*log(object_repr="As it was"), *log(object_repr="<b>As it is", action="updated")]
    response = get(reader, "testapp.poll/1/")
    assert shown(response) == ids(events)
    content = response.content.decode()
    assert "<title>Activity of &lt;b&gt;As it is</title>" in content
    assert 'name="object_type"' not in content
    assert 'name="object_pk"' not in content
    assert links(response)["All activity"] == PAGE
    assert "Clear all filters" not in links(response)
    assert links(get(reader))["testapp.poll 1"] == f"{PAGE}testapp.poll/1/"


def test_its_filters_narrow_it_further_and_cannot_make_it_another(reader, log):
    log(object_pk="2")
    events = log(username="eve")
    log()
    response = get(reader, "testapp.poll/1/", username="eve", object_pk="2", object_type="testapp.page")
    assert shown(response) == ids(events)
    assert links(response)["Clear all filters"] == "?"


@pytest.mark.parametrize("label", ["testapp.Poll", "testapp.pollproxy", "testapp.POLL"])
def test_a_model_goes_by_all_its_names(reader, log, label):
    events = log()
    assert shown(get(reader, f"{label}/1/")) == ids(events)


def test_the_log_outlives_apps_and_objects(reader, log):
    events = log(object_type="gone.thing", object_pk="x y")
    assert shown(get(reader, "gone.thing/x%20y/")) == ids(events)
    response = get(reader, "nowhere.nothing/1/")
    assert shown(response) == []
    assert "<title>Activity of nowhere.nothing 1</title>" in response.content.decode()


@pytest.mark.parametrize("address", ["nonsense/1/", "a.b.c/1/", "testapp.poll/%00/", "testapp.poll/"])
def test_what_no_event_can_be_about_is_not_there(reader, address):
    assert reader.get(PAGE + address).status_code == 404


KEYS = [
    "1",
    "a/b",
    "a//b/",
    "/",
    "//x",
    " ",
    "\n",
    "a\nb",
    "?q=1",
    "#x",
    "%2F",
    "+",
    "é/\U0001f680",
    "\u202e",
    '["A", "1"]',
]
KEYS += [".", "..", "a/../b", "./a", "~", "~.", "~~..", "...", "a/~../.", "\\", "'\"><i>", "x" * 300]


@pytest.mark.parametrize("key", [*KEYS, *(piece for piece in PIECES if len(piece) < 255)], ids=ascii)
def test_any_key_has_an_address(reader, log, key):
    key = object_key(Page(path=key))
    events = log(object_type="testapp.page", object_pk=key)
    log(object_type="testapp.page", object_pk=key[:-1] or "other")
    address = reverse("pusherable:activity", args=["testapp.page", key])
    assert {".", ".."}.isdisjoint(address.split("/"))  # browsers would go up
    response = reader.get(address)
    assert shown(response) == ids(events)
    assert address in links(get(reader)).values()


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("~./"), min_size=1, max_size=20))
def test_an_address_leads_back_to_its_key(key):
    address = reverse("pusherable:activity", args=["testapp.page", clean(key)], urlconf=(LOG,))
    assert resolve(unquote(address), urlconf=(LOG,)).kwargs["object_pk"] == clean(key)


def test_templates_give_the_key_as_it_is():
    assert reverse("pusherable:activity", args=["testapp.poll", 17]) == f"{PAGE}testapp.poll/17/"


def test_a_composite_key(reader, log):
    seat = Seat(row="A/1", number=2)
    events = log(object_type="testapp.seat", object_pk=object_key(seat))
    assert json.loads(object_key(seat)) == ["A/1", "2"]
    assert shown(reader.get(reverse("pusherable:activity", args=["testapp.seat", object_key(seat)]))) == ids(
        events
    )


def test_an_event_without_a_key_has_no_such_page(reader, log):
    log(object_pk="", action="create")
    assert [address for address in links(get(reader)).values() if address.startswith("/log")] == []


# What it costs

QUESTIONS = [
    {},
    {"username": "ada"},
    {"remote_addr": "none"},
    {"status": "failed"},
    {"before_id": "900"},
    {"after": "2026-01-01", "before": "2026-12-31", "action": "view", "q": "x"},
]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("data", QUESTIONS, ids=str)
def test_at_most_five_queries(
    admin_client, log, settings, address, data, monkeypatch, django_assert_max_num_queries
):
    settings.PUSHERABLE_RECORD_READING = True
    monkeypatch.setattr(paging, "WINDOW", 3)
    log(60, channels=["c"])
    with django_assert_max_num_queries(5 + 2) as captured:  # session and user
        get(admin_client, address, **data)
    sql = " ".join(query["sql"] for query in captured)
    assert "COUNT(" not in sql
    assert "DISTINCT" not in sql


def test_what_is_listed_does_not_matter(admin_client, log, django_assert_num_queries):
    log()
    for _ in range(2):
        with django_assert_num_queries(2 + 2):  # the page and what there is to choose; session and user
            get(admin_client)
        for number in range(60):
            log(object_type=f"app.model{number}", username=str(number), channels=["c"])


# Reading is an access, too


def test_a_search_is_recorded(reader, log, settings):
    settings.PUSHERABLE_RECORD_READING = True
    log(60)
    get(reader, links(get(reader))["Older"])
    response = get(reader, username="ada")
    [event] = AccessEvent.objects.filter(object_type="pusherable.accessevent")
    assert (event.action, event.username) == ("search", "reader")
    assert event.pk not in shown(response)
    get(reader, "testapp.poll/1/")
    event = AccessEvent.objects.newest().first()
    assert event.context["query"] == {"object_type": "testapp.poll", "object_pk": "1"}


# Markup


def named(text):
    names = ["object_pk", "object_repr", "user_pk", "username"]
    values = dict.fromkeys(names, clean(text)[:100]) | {"remote_addr": clean(text)[:45]}
    return values | {"action": clean(text)[:50], "object_type": f"gone.{clean(text)[:50]}"}


def test_whatever_things_are_called_it_is_text(reader, log):
    log(50, **named("x"))
    harmless = Elements(get(reader)).counts
    for text in hundred()[:50]:
        log(**named(text))
    hostile = Elements(get(reader)).counts
    changing = {"option", "a", "bdi", "li", "nav", "ul"}  # choices, pages, and objects that can be linked to
    assert {key: count for key, count in hostile.items() if key[0] not in changing} == {
        key: count for key, count in harmless.items() if key[0] not in changing
    }
    assert set(hostile) - set(harmless) <= {("a", ("href", "rel"))}


def test_a_key_does_not_turn_around_what_stands_beside_it(reader, log):
    log(object_pk="\u202e17\u2069")
    assert "testapp.poll 17" in links(get(reader))


def test_nothing_is_inline(reader, log):
    log()
    content = get(reader).content.decode()
    for inline in (" style=", "<style", " onclick="):
        assert inline not in content
    assert all("src=" in part.split(">")[0] for part in content.split("<script")[1:])
    assert content.count('href="/static/pusherable/activity.css"') == 1
    assert content.count('href="/static/pusherable/pusherable.css"') == 1


def test_a_site_puts_it_into_a_page_of_its_own(reader, log, settings, tmp_path):
    (tmp_path / "pusherable").mkdir()
    (tmp_path / "site.html").write_text(
        "<title>{% block title %}{% endblock %} - Site</title>{% block head %}{% endblock %}<nav>Site</nav>"
        "{% block body %}{% endblock %}"
    )
    (tmp_path / "pusherable" / "base.html").write_text(
        '{% extends "site.html" %}{% load pusherable_tags %}'
        "{% block head %}{% pusherable_script %}{% block extrahead %}{% endblock %}{% endblock %}"
        "{% block body %}{% block content %}{% endblock %}{% endblock %}"
    )
    settings.TEMPLATES = [engine | {"DIRS": [tmp_path]} for engine in settings.TEMPLATES]
    events = log()
    response = get(reader)
    content = response.content.decode()
    assert "<title>Activity - Site</title>" in content
    assert "<nav>Site</nav>" in content
    assert "pusherable/activity.css" in content
    assert shown(response) == ids(events)


@pytest.mark.parametrize(("language", "direction"), [("en", "ltr"), ("ar", "rtl")])
def test_language_and_direction(reader, settings, language, direction):
    with translation.override(language):
        assert f'lang="{language}" dir="{direction}"' in get(reader).content.decode()


def test_all_that_is_read_is_translated(log, settings, tmp_path):
    catalogue = {
        "Activity": "Neues",
        "Activity of %(object)s": "%(object)s: Neues",
        "Activity of <bdi>%(object)s</bdi>": "<bdi>%(object)s</bdi>: Neues",
        "All activity": "Alles",
        "Events": "Ereignisse",
        "Event %(id)s": "Nr. %(id)s",
        "No event is listed here.": "Keine.",
        "Older": "Weiter",
    }
    write_catalogue(tmp_path / "de" / "LC_MESSAGES", catalogue)
    settings.LOCALE_PATHS = [tmp_path]
    client = signed_in("view_accessevent", is_staff=True)
    with translation.override("de"):
        assert "Keine." in get(client).content.decode()
        event = log(51)[-1]
        content = get(client).content.decode()
        for text in (
            "<title>Neues</title>",
            ">Neues</h1>",
            'aria-label="Ereignisse"',
            "Weiter",
            f"Nr. {event.pk}",
        ):
            assert text in content
        content = get(client, "testapp.poll/1/").content.decode()
        for text in ("<title>What&#x27;s up?: Neues</title>", "<bdi>What&#x27;s up?</bdi>: Neues", "Alles"):
            assert text in content


# Elsewhere


def test_without_time_zones(reader, log, settings):
    settings.USE_TZ = False
    events = log(occurred_at=dt.datetime(2026, 3, 5, 23, 30, tzinfo=dt.UTC).replace(tzinfo=None))
    response = get(reader, after="2026-03-05", before="2026-03-05")
    assert shown(response) == ids(events)
    assert "March 5, 2026, 11:30 p.m." in response.content.decode()


@pytest.mark.django_db(databases=["default", "log"])
def test_a_log_in_a_database_of_its_own(admin_client, log, settings):
    settings.DATABASE_ROUTERS = ["tests.admin.test_elsewhere.Apart"]
    settings.PUSHERABLE_RECORD_READING = True
    events = log(2, action="printed")
    response = get(admin_client, action="printed")
    assert shown(response) == ids(events)
    assert '<option value="printed" selected>' in response.content.decode()
    assert shown(get(admin_client, "testapp.poll/1/")) == ids(events)
