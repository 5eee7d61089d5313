"""``path("pusherable/", include("pusherable.urls"))``: the activity page, and what pages and Pusher ask."""

import re

from django.urls import path, register_converter

from pusherable import views


class Key:
    """The key of an object, whatever it is.

    Browsers take a part that is ``.`` or ``..`` for a way up, before they ask; so it gets a ``~``.
    """

    regex = r"[\s\S]+"

    def to_python(self, value: str) -> str:
        return re.sub(r"(?<![^/])~(?=~*\.{1,2}(?![^/]))", "", value)

    def to_url(self, value: object) -> str:
        return re.sub(r"(?<![^/])(?=~*\.{1,2}(?![^/]))", "~", str(value))


register_converter(Key, "pusherable_key")

app_name = "pusherable"
urlpatterns = [
    path("activity/", views.Activity.as_view(), name="activity"),
    path("activity/<str:object_type>/<pusherable_key:object_pk>/", views.Activity.as_view(), name="activity"),
    path("auth/", views.auth, name="auth"),
    path("activity/items/", views.items, name="items"),
    path("changed/", views.changed, name="changed"),
    path("webhook/", views.webhook, name="webhook"),
]
