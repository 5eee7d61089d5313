"""The change form in the admin: who else is there, what may be overwritten, and where the log is."""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import path

from pusherable.model_admin import OVERWRITE, PusherableModelAdmin
from pusherable.testing import capture_events
from pusherable.versions import version
from tests.admin_site import POLLS, form
from tests.testapp.models import Everything, Poll, Tag

pytestmark = pytest.mark.django_db

without_log = admin.AdminSite()
without_log.register(Poll, PusherableModelAdmin)
urlpatterns = [path("admin/", without_log.urls)]


@pytest.fixture(autouse=True)
def _site(settings):
    settings.ROOT_URLCONF = "tests.admin_site"


def logged_in(name, *codenames, **fields):
    user = User.objects.create_user(name, is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def ada(db):
    return logged_in("ada", is_superuser=True)


@pytest.fixture
def grace(db):
    return logged_in("grace", is_superuser=True)


def opened(client, url):
    """The form as the page has it: what it sends when nothing is typed, inlines apart."""
    page = client.get(url)
    form = page.context["adminform"].form
    typed = {name: form.initial.get(name) for name in form.fields}
    return {name: "" if value is None else value for name, value in typed.items()} | hidden(page)


def hidden(page):
    inputs = re.findall(r'<input type="hidden" name="(_pusherable_\w+)" value="([^"]*)">', page.text)
    return dict(inputs)


def overwriting(page):
    [value] = re.findall(rf'<input type="checkbox" name="{OVERWRITE}" value="(\w+)">', page.text)
    return {OVERWRITE: value}


# Changed meanwhile


def test_what_was_changed_meanwhile_is_not_overwritten(ada, grace, poll):
    url = f"{POLLS}{poll.pk}/change/"
    hers, theirs = form() | opened(ada, url), form() | opened(grace, url)
    assert grace.post(url, theirs | {"question": "Grace's?"}).status_code == 302
    with capture_events() as events:
        page = ada.post(url, hers | {"question": "Ada's?"})
    assert page.status_code == 200
    [error] = page.context["adminform"].form.non_field_errors()
    assert error.startswith("grace has changed this since you opened it (")
    assert error in page.text
    assert "Ada&#x27;s?" in page.text
    assert Poll.objects.get().question == "Grace's?"
    assert [event.action for event in events] == ["update"]
    assert hidden(page) == {name: value for name, value in hers.items() if name.startswith("_pusherable")}

    # Sent again as it is, it is refused again.
    assert ada.post(url, hers | {"question": "Ada's?"}).status_code == 200
    with capture_events() as events:
        saved = ada.post(url, hers | {"question": "Ada's?"} | overwriting(page))
    assert saved.status_code == 302
    assert Poll.objects.get().question == "Ada's?"
    assert events[0].changes == {"question": ["Grace's?", "Ada's?"]}


def test_a_further_change_is_warned_of_again(ada, grace, poll):
    url = f"{POLLS}{poll.pk}/change/"
    data = form() | opened(ada, url)
    Poll.objects.update(question="First?")
    first = ada.post(url, data)
    Poll.objects.update(question="Second?")
    second = ada.post(url, data | overwriting(first))
    assert (first.status_code, second.status_code) == (200, 200)
    assert ada.post(url, data | overwriting(second)).status_code == 302


def test_who_did_it_is_told_only_of_an_event_after_the_page(ada, grace, poll):
    url = f"{POLLS}{poll.pk}/change/"
    grace.post(url, form(question="Before?"))
    data = form() | opened(ada, url)
    Poll.objects.update(question="By nobody knows whom?")
    for opened_at in (data["_pusherable_opened"], "", "9" * 19, "9" * 5000):
        page = ada.post(url, data | {"_pusherable_opened": opened_at})
        [error] = page.context["adminform"].form.non_field_errors()
        assert error == "This has been changed since you opened it. Saving would overwrite that."


def test_who_saved_without_a_change_did_not_change_it(ada, grace, poll):
    url = f"{POLLS}{poll.pk}/change/"
    data = form() | opened(ada, url)
    grace.post(url, form(question="Grace's?"))
    logged_in("alan", is_superuser=True).post(url, form(question="Grace's?"))
    page = ada.post(url, data | {"question": "Ada's?"})
    [error] = page.context["adminform"].form.non_field_errors()
    assert error.startswith("grace ")


def test_what_changes_while_the_page_is_made(ada, poll, monkeypatch):
    url = f"{POLLS}{poll.pk}/change/"
    get_object = PusherableModelAdmin.get_object

    def changed_at_once(*args):
        obj = get_object(*args)
        Poll.objects.update(question="Meanwhile?")
        return obj

    monkeypatch.setattr(PusherableModelAdmin, "get_object", changed_at_once)
    data = form() | opened(ada, url)
    assert data["question"] == "What's up?"
    assert ada.post(url, data).status_code == 200


def test_a_name_is_escaped(ada, poll):
    url = f"{POLLS}{poll.pk}/change/"
    data = form() | opened(ada, url)
    logged_in("<b>{time}", is_superuser=True).post(url, form(question="New?"))
    assert "&lt;b&gt;{time} has changed this since" in ada.post(url, data).text


def test_what_nobody_changed_is_saved(ada, grace, poll):
    url = f"{POLLS}{poll.pk}/change/"
    data = form() | opened(ada, url)
    grace.get(url)
    grace.post(url, form(poll))
    assert ada.post(url, data | {"question": "Ada's?"}).status_code == 302


def test_a_form_with_errors_keeps_what_it_was_made_of(ada, poll):
    url = f"{POLLS}{poll.pk}/change/"
    data = form() | opened(ada, url)
    Poll.objects.update(question="Meanwhile?")
    with_errors = ada.post(url, data | {"owner": "0"})
    assert with_errors.context["adminform"].form.errors.keys() == {"owner", "__all__"}
    assert hidden(with_errors).items() <= data.items()


def test_relations_count(ada):
    obj = Everything.objects.create(char="a", api_key="secret")
    url = f"/admin/testapp/everything/{obj.pk}/change/"
    data = opened(ada, url) | {"tags": []}
    obj.tags.add(Tag.objects.create(name="a"))
    assert ada.post(url, data).status_code == 200
    assert list(obj.tags.all())


def test_what_the_form_does_not_have_is_not_overwritten(ada, poll):
    """Such as a counter, or the time of the last change."""
    url = f"{POLLS}{poll.pk}/change/"
    data = form() | opened(ada, url)
    Poll.objects.update(date="2026-11-23")
    assert ada.post(url, data | {"question": "Ada's?"}).status_code == 302
    assert str(Poll.objects.get().date) == "2026-11-23"


def test_sending_a_form_twice(ada, poll):
    url = f"{POLLS}{poll.pk}/change/"
    data = form() | opened(ada, url) | {"question": "Ada's?"}
    assert [ada.post(url, data).status_code for _ in range(2)] == [302, 302]


def test_a_form_that_sends_no_version_is_saved(ada, poll):
    assert ada.post(f"{POLLS}{poll.pk}/change/", form(question="By a script?")).status_code == 302


def test_saving_as_new_overwrites_nothing(ada, poll):
    url = f"{POLLS}{poll.pk}/change/"
    data = form() | opened(ada, url)
    Poll.objects.update(question="Meanwhile?")
    assert ada.post(url, data | {"_saveasnew": "1"}).status_code == 302


# Who is here


def test_the_page_shows_who_is_there(ada, poll):
    page = ada.get(f"{POLLS}{poll.pk}/change/").text
    assert f'data-channel="presence-poll_{poll.pk}"' in page
    assert " data-editing " in page
    assert 'src="/static/pusherable/pusherable.js"' in page
    assert "presence-" not in ada.get(f"{POLLS}add/").text


def test_whoever_may_only_look_does_not_edit(poll):
    page = logged_in("viewer", "view_poll").get(f"{POLLS}{poll.pk}/change/")
    assert f'data-channel="presence-poll_{poll.pk}"' in page.text
    assert " data-editing " not in page.text
    assert hidden(page) == {}


def test_the_script_warns_of_what_the_form_does_not(ada, poll):
    url, name = f"{POLLS}{poll.pk}/change/", f"pusherable-version-presence-poll_{poll.pk}"
    data = form() | opened(ada, url) | {name: "a" * 64}
    assert f'data-version="{data[name]}"' in ada.post(url, data | {"owner": "0"}).text
    Poll.objects.update(question="Meanwhile?")
    assert f'data-version="{version(poll)}"' in ada.post(url, data).text


def test_changes_are_heard_on_the_channel_of_the_admin(ada):
    obj = Everything.objects.create(char="a")
    page = ada.get(f"/admin/testapp/everything/{obj.pk}/change/").text
    assert f'data-events-channel="private-everything_{obj.pk}"' in page


def test_a_site_without_credentials_or_urls_shows_nobody(ada, poll, settings):
    settings.PUSHER_KEY = None
    assert "pusherable.js" not in ada.get(f"{POLLS}{poll.pk}/change/").text
    settings.PUSHER_KEY, settings.ROOT_URLCONF = "test-key", __name__
    page = ada.get(f"{POLLS}{poll.pk}/change/")
    assert "<pusherable-viewers" not in page.text
    assert "pusherable.js" not in page.text
    assert hidden(page)


# The log


def test_the_button(ada, poll):
    page = ada.get(f"{POLLS}{poll.pk}/change/").text
    log = f"/admin/pusherable/accessevent/?object_type=testapp.poll&amp;object_pk={poll.pk}"
    assert f'<a href="{log}" class="pusherable-log">Who looked at this</a>' in page


def test_the_button_is_for_those_who_may_read_the_log(poll, ada, settings):
    url = f"{POLLS}{poll.pk}/change/"
    assert "pusherable-log" not in logged_in("grace", "change_poll").get(url).text
    assert "pusherable-log" in logged_in("alan", "change_poll", "view_accessevent").get(url).text
    settings.ROOT_URLCONF = __name__
    assert "pusherable-log" not in ada.get(url).text


def test_the_page_is_that_of_the_project(ada, poll, monkeypatch):
    monkeypatch.setattr("tests.admin_site.PollAdmin.change_form_template", "testapp/change_form.html")
    page = ada.get(f"{POLLS}{poll.pk}/change/").text
    assert "The project's own." in page
    assert "pusherable-log" in page
