"""What the checks find about channels: their kinds, their names, and what the public ones tell."""

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core import checks
from django.db import models
from django.test.utils import isolate_apps
from django.urls import include, path
from django.views.generic import DetailView

from pusherable.channel_checks import check_deployment
from pusherable.mixins import PusherDetailMixin
from tests.listeners import MASTER_KEY
from tests.test_checks import assert_found, found
from tests.testapp.models import Poll, Tag

PUSHER = {"BACKEND": "pusherable.delivery.transports.PusherTransport"}
NO_CREDENTIALS = {"PUSHER_APP_ID": None, "PUSHER_KEY": None, "PUSHER_SECRET": None}


@isolate_apps()
def test_models_that_share_channel_names(monkeypatch):
    class Poll(models.Model):
        class Meta:
            app_label = "other"

    class PageOf(models.Model):
        class Meta:
            app_label = "other"
            db_table = "page_of"

    PageOf._meta.model_name = "page_of"
    installed = apps.get_models()
    monkeypatch.setattr(apps, "get_models", lambda: [*installed, Poll])
    assert_found("W002", '"{app_label}_{model_name}_{pk}"')
    assert "testapp.Poll and other.Poll" in found()[0][1].msg
    assert found(PUSHERABLE_CHANNEL_FORMAT="{app_label}_{model_name}_{pk}") == []

    # The page with the key "of_1" has the name of the page_of with the key 1.
    monkeypatch.setattr(apps, "get_models", lambda: [PageOf, *installed])
    assert "other.PageOf and testapp.Page share" in found()[0][1].msg
    assert found(PUSHERABLE_CHANNEL_FORMAT="{pk}.{model_name}") == []


@pytest.mark.parametrize("kind", ["secret", "presence", None, 1])
def test_a_kind_of_channel_that_is_none(kind):
    assert_found("E019", 'Write one of "public", "private", "private-encrypted".', PUSHERABLE_CHANNELS=kind)


def test_a_kind_of_channel_that_is_none_on_a_model(monkeypatch):
    model = apps.get_model("testapp.tag")
    monkeypatch.setattr(model, "pusher_channel_kind", "secret", raising=False)
    [(id_, message)] = found()
    assert (id_, message.obj) == ("E019", model)


def test_public_channels_are_a_warning_for_deployment(settings):
    settings.PUSHERABLE_CHANNELS = "private"
    assert check_deployment() == []
    settings.PUSHERABLE_CHANNELS = "public"
    assert [message.id for message in check_deployment()] == ["pusherable.W003"]
    assert check_deployment not in checks.registry.registry.get_checks()
    assert check_deployment in checks.registry.registry.get_checks(include_deployment_checks=True)


def of(**attributes):
    """A URLconf with a view of polls that has these attributes."""
    view = type("OfPolls", (PusherDetailMixin, DetailView), {"model": Poll} | attributes)
    return (path("<pk>/", view.as_view()),)


def test_a_kind_of_channel_that_is_none_in_a_view():
    [(id_, message)] = found(ROOT_URLCONF=of(pusher_channel_kind="secret"))
    assert (id_, message.obj.__name__) == ("E019", "OfPolls")


@pytest.mark.parametrize("owner", ["setting", "model", "view"])
def test_an_encrypted_channel_needs_a_key(owner, monkeypatch):
    kind, auth = "private-encrypted", (path("pusherable/", include("pusherable.urls")),)
    if owner == "setting":
        changes = {"PUSHERABLE_CHANNELS": kind, "ROOT_URLCONF": auth}
    elif owner == "model":
        monkeypatch.setattr(Poll, "pusher_channel_kind", kind, raising=False)
        changes = {"ROOT_URLCONF": auth}
    else:
        changes = {"ROOT_URLCONF": (*auth, *of(pusher_channel_kind=kind))}
    assert_found("E021", "openssl rand -base64 32", **changes)
    assert found(**changes, PUSHER_ENCRYPTION_MASTER_KEY_BASE64=MASTER_KEY) == []


def test_a_private_view_needs_somebody_to_ask():
    assert_found("W004", 'include("pusherable.urls")', ROOT_URLCONF=of(pusher_channel_kind="private"))


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({}, "owner"),
        ({"pusher_include_model_fields": "owner"}, "owner"),
        ({"pusher_exclude_model_fields": ["owner"]}, None),
        ({"pusher_include_model_fields": ["question"]}, None),
        ({"pusher_include_model_fields": ["no_field"]}, None),
        ({"model": User}, "date_joined, email, first_name, groups, "),
        ({"model": User, "pusher_include_model_fields": ["id", "password"]}, None),
        ({"model": Tag}, None),
        ({"model": None, "queryset": Poll.objects.none()}, "owner"),
    ],
)
def test_what_public_channels_tell_of_users(attributes, told, settings):
    settings.ROOT_URLCONF = of(**attributes)
    messages = [message for _, message in found()]
    assert [message.id for message in messages] == ["pusherable.W005"] * bool(told)
    for message in messages:
        assert message.obj == (attributes.get("model") or Poll)
        assert f"users: {told}" in message.msg
        assert "pusher_exclude_model_fields" in message.hint
    settings.ROOT_URLCONF = (path("pusherable/", include("pusherable.urls")), *settings.ROOT_URLCONF)
    assert found(PUSHERABLE_CHANNELS="private") == []


def test_a_model_with_a_public_channel_of_its_own(monkeypatch):
    monkeypatch.setattr(Poll, "pusher_channel_kind", "public", raising=False)
    assert_found("W005", "pusher_channel_kind")
    assert_found("W001", "Set", PUSHERABLE_TRANSPORT=PUSHER, **NO_CREDENTIALS)


def test_private_channels_need_somebody_to_ask():
    assert_found("W004", 'include("pusherable.urls")', PUSHERABLE_CHANNELS="private")
