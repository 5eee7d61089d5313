"""The four views of the README; a test subclasses what it needs and serves it."""

from django.views.generic import CreateView, DeleteView, DetailView, UpdateView

from pusherable.mixins import PusherCreateMixin, PusherDeleteMixin, PusherDetailMixin, PusherUpdateMixin
from tests.testapp.models import Poll


class PollDetail(PusherDetailMixin, DetailView):
    model = Poll
    template_name = "testapp/page.html"


class PollUpdate(PusherUpdateMixin, UpdateView):
    model = Poll
    fields = ["question", "pub_date"]
    template_name = "testapp/page.html"
    success_url = "/done/"


class PollCreate(PusherCreateMixin, CreateView):
    model = Poll
    fields = ["question", "pub_date"]
    template_name = "testapp/page.html"
    success_url = "/done/"


class PollDelete(PusherDeleteMixin, DeleteView):
    model = Poll
    template_name = "testapp/page.html"
    success_url = "/done/"
