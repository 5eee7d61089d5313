"""Live lists: for whom the tag renders one, and what the endpoint answers to whom."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core import signing
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, RequestFactory
from django.urls import include, path
from django.utils import translation
from django.utils.formats import date_format
from freezegun import freeze_time

from pusherable.channels import FEED
from pusherable.live import SALT
from pusherable.models import AccessEvent
from pusherable.recording import record_access
from tests.templatetags.html import Parser, render
from tests.test_authorization import PollDetail

OBJECT = "{% pusherable_activity object live=True %}"
OTHERS = {
    "everything": "{% pusherable_activity live=True %}",
    "model": "{% pusherable_activity 'testapp.poll' live=True %}",
    "user": "{% pusherable_activity user=object.owner live=True %}",
}

urlpatterns = [path("pusherable/", include("pusherable.urls")), path("polls/<pk>/", PollDetail.as_view())]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _site(settings, poll):
    settings.ROOT_URLCONF = __name__
    settings.PUSHERABLE_FEED = True
    poll.owner = User.objects.create_user("owner")


def user_who_may(*codenames):
    user = User.objects.create_user(f"who may {codenames}")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


@pytest.fixture
def viewer():
    return user_who_may("view_poll")


@pytest.fixture
def reader():
    return user_who_may("view_accessevent")


def shown_to(user, source, /, **context):
    """The tag on a page of this user, parsed."""
    request = RequestFactory().get("/")
    request.user = user
    return Parser(render(source, request=request, **context))


def live_element(parser):
    return next((attributes for tag, attributes in parser.elements if tag == "pusherable-activity"), None)


def url_of(user, source, **context):
    return live_element(shown_to(user, source, **context))["data-url"]


def ask(user, url, **headers):
    client = Client(headers=headers)
    if user is not None:
        client.force_login(user)
    return client.get(url)


def shape(html):
    parser = Parser(html)
    return parser.elements, [text.strip() for text in parser.text if text.strip()]


# For whom the list is live


@pytest.mark.parametrize(
    ("kind", "argument", "channel"),
    [
        ("private", "", "private-poll_{}"),
        ("public", "", "poll_{}"),
        ("public", "kind='private'", "private-poll_{}"),
        ("private-encrypted", "", "private-encrypted-poll_{}"),
    ],
)
def test_the_list_of_an_object(settings, poll, viewer, kind, argument, channel):
    settings.PUSHERABLE_CHANNELS = kind
    record_access(poll, "view", user=poll.owner)
    source = OBJECT.replace("live", f"{argument} limit=1000 live")
    found = live_element(shown_to(viewer, source, object=poll))
    assert found["data-channel"] == channel.format(poll.pk)
    assert found["data-limit"] == "1000"
    assert json.loads(found["data-texts"]) == {"language": "en-us", "new": "New events: {count}"}
    answer = ask(viewer, found["data-url"])
    assert answer.status_code == 200
    elements, texts = shape(answer.text)
    assert [tag for tag, _ in elements] == ["ol", "li", "span", "bdi", "bdi", "time"]
    assert "no-store" in answer["Cache-Control"]
    # Nothing else, and as it is on a page where it is not live.
    assert (elements, texts) == shape(
        render("{% pusherable_activity object %}", object=poll).partition(">")[2]
    )


@pytest.mark.parametrize("of", OTHERS)
def test_other_lists_listen_to_the_feed(poll, reader, of):
    event = record_access(poll, "view", user=poll.owner)
    found = live_element(shown_to(reader, OTHERS[of], object=poll))
    assert found["data-channel"] == FEED
    assert f'data-events="{event.pk}"' in ask(reader, found["data-url"]).text


@pytest.mark.parametrize("kind", ["public", "private"])
@pytest.mark.parametrize(("of", "source"), [("object", OBJECT), *OTHERS.items()], ids=str)
def test_for_others_it_is_the_same_list_and_not_live(settings, poll, reader, viewer, kind, of, source):
    settings.PUSHERABLE_CHANNELS = kind
    record_access(poll, "view", user=poll.owner)
    listener = viewer if of == "object" else reader
    static = shape(render(source.replace("live=True", ""), object=poll))

    def is_static(user):
        parser = shown_to(user, source, object=poll)
        return (parser.elements, [text.strip() for text in parser.text if text.strip()]) == static

    assert not is_static(listener)
    assert is_static(reader if of == "object" else viewer)
    assert is_static(AnonymousUser())
    assert shape(render(source, object=poll)) == static  # a page that has no user
    if of != "object":
        settings.PUSHERABLE_FEED = False
        assert is_static(listener)
        settings.PUSHERABLE_FEED = True
    settings.PUSHER_KEY = None
    assert is_static(listener)


def test_of_nothing_there_is_nothing_to_hear(viewer):
    assert live_element(shown_to(viewer, OBJECT, object=None)) is None
    assert live_element(shown_to(viewer, OTHERS["user"], object=None)) is None


def test_the_reader_is_not_whom_the_page_is_about(poll, viewer):
    assert live_element(shown_to(viewer, OBJECT, object=poll, user=AnonymousUser())) is not None


def test_without_the_endpoint_it_says_what_to_do(settings, poll, reader):
    settings.ROOT_URLCONF = "tests.urls"
    with pytest.raises(ImproperlyConfigured, match=r'include\("pusherable.urls"\)'):
        shown_to(reader, OTHERS["everything"])


def test_queries(poll, viewer, reader, django_assert_num_queries):
    record_access(poll, "view")
    for user, source, its_object in ((viewer, OBJECT, 1), (reader, OTHERS["model"], 0)):
        client = Client()
        client.force_login(user)
        with django_assert_num_queries(1 + 2 + its_object):  # the events, and the user's permissions
            url = url_of(user, source, object=poll)
        with django_assert_num_queries(2 + 1 + 2 + its_object):  # and session and user
            assert client.get(url).status_code == 200


# What the endpoint refuses


@pytest.fixture
def url(poll, viewer):
    return url_of(viewer, OBJECT, object=poll)


def test_another_user(url):
    for user in (user_who_may("view_poll", "view_accessevent"), None):
        assert ask(user, url).status_code == 403


def test_a_user_who_has_lost_the_permission(poll, url, viewer):
    assert ask(viewer, url).status_code == 200
    viewer.user_permissions.clear()
    assert ask(viewer, url).status_code == 403


def test_the_feed_that_has_been_turned_off(settings, reader):
    url = url_of(reader, OTHERS["everything"])
    settings.PUSHERABLE_FEED = False
    assert ask(reader, url).status_code == 403


def test_an_object_that_is_gone(poll, url, viewer):
    poll.delete()
    assert ask(viewer, url).status_code == 403


def test_a_list_that_is_older_than_a_day(poll, viewer):
    with freeze_time("2026-11-22 10:00:00") as clock:
        url = url_of(viewer, OBJECT, object=poll)
        clock.move_to("2026-11-23 09:59:59")
        client = Client()
        client.force_login(viewer)
        assert client.get(url).status_code == 200
        clock.move_to("2026-11-23 10:00:02")
        assert client.get(url).status_code == 403


def test_what_no_template_has_signed(url, viewer):
    address, text = url.partition("?list=")[::2]
    [signed] = parse_qs(urlsplit(url).query)["list"]
    changed = signing.loads(signed, salt=SALT) | {"parameters": {}}
    for forged in (
        "",
        "x",
        text[:-1],
        text[1:],
        "%00",
        "é",
        signing.dumps(changed),
        signing.dumps(changed, key="x", salt=SALT),
    ):
        assert ask(viewer, f"{address}?list={forged}").status_code == 403
    assert ask(viewer, address).status_code == 403


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_only_get(url, method):
    assert getattr(Client(), method)(url).status_code == 405


def test_a_site_that_demands_a_login_everywhere_still_answers_itself(settings, url):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert ask(None, url).status_code == 403


# In whose words


def test_the_language_is_that_of_the_list(poll, viewer):
    """Also where the address of the page had told it, which says nothing of other addresses."""
    record_access(poll, "view")
    with translation.override("de"):
        url = url_of(viewer, OBJECT, object=poll)
    [date] = AccessEvent.objects.values_list("occurred_at", flat=True)
    html = ask(viewer, url, accept_language="fr").text
    with translation.override("de"):
        assert date_format(date, "DATETIME_FORMAT") in html
