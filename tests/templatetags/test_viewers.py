"""The tag of those who are here: what it renders, for whom, and what that costs."""

import json

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.forms import modelform_factory
from django.template import TemplateSyntaxError
from django.test import RequestFactory, override_settings
from django.urls import include, path
from django.utils import translation
from django.utils.functional import SimpleLazyObject
from django.views.generic import UpdateView

from pusherable.mixins import PusherUpdateMixin
from pusherable.models import AccessEvent
from pusherable.templatetags import pusherable_tags
from pusherable.versions import version
from tests.templatetags.html import Parser, elements, render
from tests.testapp.models import Device, Document, Page, Poll, PollProxy, Seat

TAG = "{% pusherable_viewers object %}"
EDITING = "{% pusherable_viewers object editing=True %}"

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class PollUpdate(PusherUpdateMixin, UpdateView):
    model = Poll
    fields = ("question",)


class PageUpdate(PusherUpdateMixin, UpdateView):
    model = Page
    fields = ("path",)


urlpatterns = [
    path("pusherable/", include("pusherable.urls")),
    path("polls/<pk>/", PollUpdate.as_view()),
    path("pages/<pk>/", PageUpdate.as_view()),
]


@pytest.fixture
def viewer():
    user = User.objects.create_user("viewer")
    user.user_permissions.add(Permission.objects.get(codename="view_poll"))
    return User.objects.get(pk=user.pk)


def only(source, **context):
    [attributes] = elements(source, "pusherable-viewers", **context)
    return attributes


def test_the_element(poll, viewer, django_assert_num_queries):
    with django_assert_num_queries(0):
        attributes = only(TAG, object=poll, user=viewer)
    texts = json.loads(attributes.pop("data-texts"))
    assert attributes == {
        "class": "pusherable-viewers",
        "data-channel": f"presence-poll_{poll.pk}",
        "data-me": str(viewer.pk),
    }
    assert texts["language"] == "en-us"
    assert texts["editing"] == "{name} is editing"
    assert not AccessEvent.objects.exists()


def test_the_element_of_an_update_page(poll, viewer, django_assert_num_queries):
    with django_assert_num_queries(4):  # the object, permissions of the user and of groups, what is stored
        attributes = only(EDITING, object=poll, user=viewer)
    assert attributes["data-editing"] is None
    assert attributes["data-events-channel"] == f"poll_{poll.pk}"
    assert attributes["data-changed-url"] == "/pusherable/changed/"
    assert attributes["data-version"] == version(poll)


def test_the_version_is_that_of_what_is_stored(poll, viewer):
    expected = version(poll)
    poll.question = "as an invalid form has left it"
    assert only(EDITING, object=poll, user=viewer)["data-version"] == expected


@pytest.mark.parametrize("kind", ["public", "private", "private-encrypted"])
def test_the_kind_of_the_events(poll, viewer, kind):
    attributes = only(
        f"{{% pusherable_viewers object editing=True kind='{kind}' %}}", object=poll, user=viewer
    )
    assert attributes["data-events-channel"].removesuffix(f"poll_{poll.pk}") == kind.replace("public", "") + (
        "-" if kind != "public" else ""
    )


def test_who_may_not_subscribe_is_not_told_of_changes(poll, django_user_model):
    attributes = only(EDITING, object=poll, user=django_user_model.objects.create_user("nobody"))
    assert set(attributes) == {"class", "data-channel", "data-me", "data-editing", "data-texts"}


def test_a_proxy_and_a_lazy_object(poll, viewer):
    expected = only(EDITING, object=poll, user=viewer)
    assert only(EDITING, object=PollProxy.objects.get(), user=viewer) == expected
    assert only(EDITING, object=SimpleLazyObject(lambda: poll), user=viewer) == expected


@pytest.mark.parametrize("tag", [TAG, EDITING])
@pytest.mark.parametrize("unsaved", [None, Poll(), Document(), Seat()])
def test_nothing_for_what_is_not_saved(viewer, tag, unsaved):
    assert render(tag, object=unsaved, user=viewer).strip() == ""


@pytest.mark.parametrize("context", [{}, {"user": None}, {"user": AnonymousUser()}])
def test_nothing_for_anonymous_visitors(poll, context):
    assert render(TAG, object=poll, **context).strip() == ""


@pytest.mark.parametrize("missing", ["PUSHER_APP_ID", "PUSHER_KEY", "PUSHER_SECRET"])
def test_nothing_without_credentials(settings, poll, viewer, missing):
    setattr(settings, missing, None)
    settings.ROOT_URLCONF = "tests.urls"
    assert render(TAG, object=poll, user=viewer).strip() == ""


def test_the_user_of_the_request_comes_first(poll, viewer):
    """On the page of a user, a DetailView calls that one `user`."""
    request = RequestFactory().get("/")
    request.user = viewer
    other = User.objects.create_user("other")
    assert only(TAG, object=other, user=other, request=request)["data-me"] == str(viewer.pk)
    request.user = AnonymousUser()
    assert render(TAG, object=poll, user=other, request=request).strip() == ""


def test_a_user_whose_key_needs_quoting(poll):
    user = Device(pk="5!edit")
    assert only(TAG, object=poll, user=user)["data-me"] == "5%21edit"


def test_it_says_when_the_urls_are_missing(settings, poll, viewer):
    settings.ROOT_URLCONF = "tests.urls"
    with pytest.raises(ImproperlyConfigured, match=r'path\("pusherable/", include\("pusherable.urls"\)\)'):
        render(TAG, object=poll, user=viewer)


@pytest.mark.parametrize("wrong", ["missing", "'poll'", "17"])
def test_it_says_what_is_wrong(poll, viewer, wrong):
    with pytest.raises(
        TemplateSyntaxError, match=r"must be a model instance, not .*{% pusherable_viewers object"
    ):
        render(f"{{% pusherable_viewers {wrong} %}}", user=viewer)


def test_everything_is_escaped(viewer, monkeypatch):
    hostile = """'"></pusherable-viewers><img src=x onerror=hacked> &amp;"""
    monkeypatch.setattr(pusherable_tags, "TEXTS", pusherable_tags.TEXTS | {"label": hostile})
    page = Page.objects.create(path=hostile)
    html = Parser(render(EDITING, object=page, user=User.objects.create_superuser("root")))
    [(tag, attributes)] = html.elements
    assert tag == "pusherable-viewers"
    assert json.loads(attributes["data-texts"])["label"] == hostile
    assert set(attributes["data-channel"]) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=@,.;"
    )
    assert "".join(html.text).strip() == ""


@pytest.mark.parametrize(("language", "expected"), [("de", "de"), ("ca@valencia", "ca"), (None, "en")])
def test_the_language_is_one_that_browsers_know(poll, viewer, language, expected):
    with translation.override(language):
        attributes = only(TAG, object=poll, user=viewer)
    assert json.loads(attributes["data-texts"])["language"] == expected


# A form that is shown again


def again(poll, viewer, data, **extra):
    request = RequestFactory().post("/", data)
    request.user = viewer
    form = modelform_factory(Poll, fields=["question"])(data, instance=Poll.objects.get())
    return only(EDITING, object=poll, request=request, form=form, **extra)["data-version"]


def test_a_form_with_errors_keeps_the_version_that_it_was_made_of(poll, viewer):
    old = version(poll)
    Poll.objects.update(question="Who's there?")
    sent = {f"pusherable-version-presence-poll_{poll.pk}": old}
    assert again(poll, viewer, sent) == old
    assert again(poll, viewer, sent | {"question": "valid"}) == version(poll) != old


@pytest.mark.parametrize("sent", ["", "x", "A" * 64, '"><b>', "0" * 63, "0" * 64 + "\n"])
def test_what_is_no_version_is_not_taken_for_one(poll, viewer, sent):
    assert again(poll, viewer, {f"pusherable-version-presence-poll_{poll.pk}": sent}) == version(poll)


# The endpoint that is asked


def changed(client, channel, of):
    return client.get("/pusherable/changed/", {"channel": channel, "version": of})


def test_whether_it_has_changed(client, poll, viewer, django_assert_num_queries):
    client.force_login(viewer)
    channel, old = f"presence-poll_{poll.pk}", version(poll)
    with django_assert_num_queries(6):  # session, user, the object, both permissions, what is stored
        response = changed(client, channel, old)
    assert (response.status_code, response.json()) == (200, {"changed": False})
    assert "no-cache" in response.headers["Cache-Control"]
    Poll.objects.update(question="Who's there?")
    assert changed(client, channel, old).json() == {"changed": True}
    assert client.get("/pusherable/changed/", {"channel": channel}).json() == {"changed": True}


def test_who_may_not_subscribe_is_refused(client, poll, viewer):
    channel, of = f"presence-poll_{poll.pk}", version(poll)
    assert changed(client, channel, of).status_code == 403
    client.force_login(User.objects.create_user("nobody"))
    assert changed(client, channel, of).status_code == 403
    client.force_login(viewer)
    for other in (f"poll_{poll.pk}", f"private-poll_{poll.pk}", "presence-poll_0", "presence-tag_1"):
        assert changed(client, other, of).status_code == 403
    poll.delete()
    assert changed(client, channel, of).status_code == 403


@override_settings(PUSHERABLE_CAN_SUBSCRIBE=lambda user, obj, channel: True)
def test_an_anonymous_visitor_is_refused_whatever_the_rule(client, poll):
    assert changed(client, f"presence-poll_{poll.pk}", version(poll)).status_code == 403


@pytest.mark.parametrize("channel", ["", "presence poll", "x" * 165, "presence-poll_1\0"])
def test_what_cannot_be_is_a_bad_request(client, viewer, channel):
    client.force_login(viewer)
    assert changed(client, channel, "").status_code == 400


def test_only_get(client, viewer):
    client.force_login(viewer)
    assert client.post("/pusherable/changed/").status_code == 405
