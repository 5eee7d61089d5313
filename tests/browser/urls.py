"""A site for the browser: views with the mixins, and pages that a test writes itself."""

from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path
from django.views.generic import DetailView, UpdateView

from pusherable.mixins import PusherDetailMixin, PusherUpdateMixin
from tests.browser.policy import protected, report
from tests.server.clients import NODE_MODULES
from tests.testapp.models import Page, Poll

PUSHER_JS = NODE_MODULES / "dist/web/pusher.min.js"


class Written(NamedTuple):
    """A page of one test."""

    template: str
    context: dict[str, object]
    headers: dict[str, str]
    script: str


#: Filled by the fixture `write_page`.
pages: dict[str, Written] = {}


def written_page(request: HttpRequest, name: str) -> HttpResponse:
    page = pages[name]
    content = Template(page.template).render(RequestContext(request, page.context))
    return HttpResponse(content, headers=page.headers)


def written_script(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(pages[name].script, content_type="text/javascript; charset=utf-8")


def pusher_js(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PUSHER_JS.read_bytes(), content_type="text/javascript; charset=utf-8")


class PollUpdate(PusherUpdateMixin, UpdateView):
    model = Poll
    fields = ["question"]
    template_name = "poll_form.html"
    success_url = "/written/done/"


class PageDetail(PusherDetailMixin, DetailView):
    model = Page
    template_name = "page_detail.html"


urlpatterns = [
    path("written/<name>/", protected(written_page)),
    path("written/<name>.js", written_script),
    path("policy/<int:number>/", report),
    path("pusher.js", pusher_js),
    path("pusherable/", include("pusherable.urls")),
    path("polls/<int:pk>/update/", protected(PollUpdate.as_view())),
    path("pages/<path:pk>/", protected(PageDetail.as_view())),
]
