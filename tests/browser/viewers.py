"""A site with an update page that says who is here, people for it, and what the tests ask its pages."""

from threading import Event

from django.contrib.auth.models import Permission, User
from django.http import HttpResponse
from django.urls import include, path
from django.views.generic import DeleteView, UpdateView
from playwright.sync_api import expect

from pusherable.mixins import PusherDeleteMixin, PusherUpdateMixin
from tests.browser.live import SCRIPT
from tests.browser.policy import protected
from tests.testapp.models import Poll

HERE = SCRIPT.replace("<!doctype html>", "<!doctype html><html lang=en>") + "{% pusherable_viewers object %}"

#: Without it, the page that follows a save lets one wait.
may_go_on = Event()


def saved(request):
    may_go_on.wait(60)
    return HttpResponse("Saved.")


def go_on(request):
    may_go_on.set()
    return HttpResponse()


class PollEdit(PusherUpdateMixin, UpdateView):
    model = Poll
    fields = ["question"]
    template_name = "poll_edit.html"
    success_url = "/saved/"


class PollDelete(PusherDeleteMixin, DeleteView):
    model = Poll
    template_name = "poll_form.html"
    success_url = "/saved/"


urlpatterns = [
    path("polls/<int:pk>/edit/", protected(PollEdit.as_view())),
    path("polls/<int:pk>/delete/", protected(PollDelete.as_view())),
    path("saved/", protected(saved)),
    path("go-on/", go_on),
    path("", include("tests.browser.urls")),
]


def person(full_name):
    """A user with this name, who may view polls."""
    first, _, last = full_name.partition(" ")
    user = User.objects.create_user(first.lower(), first_name=first, last_name=last)
    user.user_permissions.add(Permission.objects.get(codename="view_poll"))
    return user


def opened(page, address):
    page.goto(address)
    expect(faces(page)).not_to_have_count(0)
    return page


def faces(page):
    return page.locator("pusherable-viewers li")
