"""The change form in the admin, as two people have it open in Chromium."""

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.urls import include, path
from playwright.sync_api import expect

from pusherable.model_admin import PusherableModelAdmin
from pusherable.models import AccessEvent
from tests.browser.policy import protected
from tests.browser.viewers import faces, opened
from tests.testapp.models import Poll


class ProtectedSite(AdminSite):
    def admin_view(self, view, cacheable=False):
        return protected(super().admin_view(view, cacheable))


class PollAdmin(PusherableModelAdmin):
    fields = ("question",)


site = ProtectedSite()
site.register(Poll, PollAdmin)
site.register(AccessEvent)

urlpatterns = [path("admin/", site.urls), path("", include("tests.browser.urls"))]


@pytest.fixture(autouse=True)
def _site(settings, write_page):
    settings.ROOT_URLCONF = __name__
    settings.PUSHERABLE_CHANNELS = "private"


def boss(full_name):
    first, last = full_name.split()
    names = {"first_name": first, "last_name": last}
    return User.objects.create_superuser(first.lower(), **names)


def save(page, question=None):
    if question:
        page.get_by_label("Question").fill(question)
    page.get_by_role("button", name="Save", exact=True).click()


def test_two_people_with_one_form(open_page, poll):
    url = f"/admin/testapp/poll/{poll.pk}/change/"
    ada, grace = (opened(open_page(boss(name)), url) for name in ("Ada Lovelace", "Grace Hopper"))
    expect(faces(ada)).to_have_count(2)
    expect(ada.get_by_text("Grace Hopper is editing this too.")).to_be_visible()

    save(grace, "Grace's?")
    expect(grace.get_by_text("was changed successfully")).to_be_visible()
    expect(ada.get_by_role("alert").get_by_text("has changed this since you opened it")).to_be_visible()

    save(ada, "Ada's?")
    expect(ada.get_by_text("grace has changed this since you opened it (")).to_be_visible()
    expect(ada.get_by_label("Question")).to_have_value("Ada's?")
    assert Poll.objects.get().question == "Grace's?"
    expect(faces(ada)).to_have_count(1)

    ada.get_by_label("Save anyway").check()
    save(ada)
    expect(ada.get_by_text("was changed successfully")).to_be_visible()
    assert Poll.objects.get().question == "Ada's?"


def test_who_looked_at_this(open_page, poll):
    page = opened(open_page(boss("Ada Lovelace")), f"/admin/testapp/poll/{poll.pk}/change/")
    page.get_by_role("link", name="Who looked at this").click()
    page.wait_for_url(f"**/admin/pusherable/accessevent/?object_type=testapp.poll&object_pk={poll.pk}")
