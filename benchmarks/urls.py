"""The same two views three times: bare, with one plain INSERT (the floor), and with the mixins.

And the pages of the log.
"""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.http import HttpResponse
from django.urls import include, path
from django.utils import timezone
from django.views.generic import DetailView, UpdateView

from benchmarks.models import Article, PlainRow
from pusherable.mixins import PusherDetailMixin, PusherUpdateMixin


def insert_plain_row(view: Any, action: str) -> None:
    article, request = view.object, view.request
    PlainRow.objects.create(
        action=action,
        object_type="benchmarks.article",
        object_pk=str(article.pk),
        object_repr=str(article),
        user_pk=str(request.user.pk),
        username=request.user.username,
        remote_addr=request.META["REMOTE_ADDR"],
        context={
            "method": request.method,
            "path": request.path,
            "user_agent": request.META.get("HTTP_USER_AGENT", ""),
        },
        snapshot={
            "id": article.pk,
            "title": article.title,
            "body": article.body,
            "section": article.section,
            "published": timezone.now().isoformat(),
            "words": article.words,
        },
        channels=[f"article_{article.pk}"],
    )


class BareDetail(DetailView):
    model = Article
    template_name = "article.html"


class FloorDetail(BareDetail):
    def render_to_response(self, context: Any, **kwargs: Any) -> HttpResponse:
        insert_plain_row(self, "view")
        return super().render_to_response(context, **kwargs)


class OurDetail(PusherDetailMixin, BareDetail):
    pass


class BareUpdate(UpdateView):
    model = Article
    template_name = "form.html"
    fields = ("title", "body", "section", "words")
    success_url = "/"


class FloorUpdate(BareUpdate):
    def form_valid(self, form: Any) -> HttpResponse:
        # In one transaction, as any log has to be that may not miss a change.
        with transaction.atomic():
            response = super().form_valid(form)
            insert_plain_row(self, "updated")
        return response


class OurUpdate(PusherUpdateMixin, BareUpdate):
    pass


urlpatterns = [
    path("admin/", admin.site.urls),
    path("pusherable/", include("pusherable.urls")),
    path("bare/<int:pk>/", BareDetail.as_view()),
    path("floor/<int:pk>/", FloorDetail.as_view()),
    path("ours/<int:pk>/", OurDetail.as_view()),
    path("bare/<int:pk>/edit/", BareUpdate.as_view()),
    path("floor/<int:pk>/edit/", FloorUpdate.as_view()),
    path("ours/<int:pk>/edit/", OurUpdate.as_view()),
]
