"""A site that takes webhooks, and how Pusher brings them to it."""

import hashlib
import hmac
import json
import time

from django.test import Client
from django.urls import include, path
from django.views.generic import DetailView

from pusherable.mixins import PusherDetailMixin
from tests.testapp.models import Document, Page, Seat
from tests.testapp.views import PollDetail, PollUpdate

URL = "/pusherable/webhook/"
SECRET = "test-secret"


def detail(model):
    return type(f"{model.__name__}Detail", (PusherDetailMixin, DetailView), {"model": model}).as_view()


urlpatterns = [
    path("pusherable/", include("pusherable.urls")),
    path("polls/<pk>/", PollDetail.as_view()),
    path("polls/<pk>/edit/", PollUpdate.as_view()),
    *(path(f"{model.__name__}/<pk>/", detail(model)) for model in (Document, Page, Seat)),
]


def signature(body, secret=SECRET):
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def webhook(*events, ago=0.0):
    """A body that was made so many seconds ago."""
    return json.dumps({"time_ms": round((time.time() - ago) * 1000), "events": events}).encode()


def removed(channel, user_id):
    return {"name": "member_removed", "channel": channel, "user_id": user_id}


def bring(body, client=None, **headers):
    """Post it as Pusher does; a header that is None is left out."""
    headers = {"X-Pusher-Key": "test-key", "X-Pusher-Signature": signature(body)} | {
        f"X-Pusher-{name.title()}": value for name, value in headers.items()
    }
    given = {name: value for name, value in headers.items() if value is not None}
    client = client or Client(enforce_csrf_checks=True)
    return client.post(URL, body, content_type="application/json", headers=given)


def tell(*events, **options):
    """Bring a webhook of now, which is to be accepted."""
    response = bring(webhook(*events, **options))
    assert (response.status_code, response.content) == (200, b"")
