"""What is done in the admin, as the log has it."""

import pytest
from django.contrib.admin import ModelAdmin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError
from django.test import Client

from pusherable.authorization import broadcast_models, broadcasts
from pusherable.channel_checks import check_channels
from pusherable.model_admin import PusherableModelAdmin
from pusherable.models import AccessEvent
from pusherable.redaction import REDACTED
from pusherable.testing import capture_events
from tests import admin_site
from tests.admin_site import POLLS, delete_selected, form, inlines
from tests.testapp.models import Bookmark, Document, Everything, Poll, Tag

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _site(settings):
    settings.ROOT_URLCONF = "tests.admin_site"


@pytest.fixture
def tags(db):
    return [Tag.objects.create(name=name) for name in "abc"]


def staff(*codenames):
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def told(events):
    return [(event.action, event.object_type, event.object_pk) for event in events]


# Opening


@pytest.mark.parametrize(("page", "action"), [("change", "update"), ("delete", "delete")])
def test_opening_a_page(page, action, admin_client, poll):
    with capture_events() as events:
        response = admin_client.get(f"{POLLS}{poll.pk}/{page}/", REMOTE_ADDR="192.0.2.1")
    assert "What&#x27;s up?" in response.text
    [event] = events
    assert (event.action, event.object_type, event.object_pk) == (action, "testapp.poll", str(poll.pk))
    assert (event.username, event.remote_addr) == ("admin", "192.0.2.1")
    assert event.snapshot["question"] == "What's up?"
    assert (event.channels, event.changes) == ([f"poll_{poll.pk}"], {})


def test_whoever_may_only_look_views(poll):
    client = staff("view_poll")
    with capture_events() as events:
        assert client.get(f"{POLLS}{poll.pk}/change/").status_code == 200
    assert told(events) == [("view", "testapp.poll", str(poll.pk))]


def test_the_page_of_an_add_form(admin_client):
    with capture_events() as events:
        assert admin_client.get(f"{POLLS}add/").status_code == 200
    assert told(events) == [("create", "testapp.poll", "")]


@pytest.mark.parametrize("page", ["{pk}/change/", "{pk}/delete/", "add/"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_refused_access_is_none(page, method, poll):
    client = staff("view_tag")
    with capture_events() as events:
        assert getattr(client, method)(POLLS + page.format(pk=poll.pk)).status_code == 403
    assert events == []


def test_whoever_may_only_look_cannot_save(poll):
    client = staff("view_poll")
    with capture_events() as events:
        assert client.post(f"{POLLS}{poll.pk}/change/", form(question="Mine?")).status_code == 403
    assert events == []


def test_an_object_that_is_not_there_and_a_list_are_none(admin_client, poll):
    with capture_events() as events:
        assert admin_client.get(f"{POLLS}0/change/").status_code == 302
        assert admin_client.get(POLLS).status_code == 200
    assert events == []


# Saving


def test_adding(admin_client):
    with capture_events() as events:
        response = admin_client.post(f"{POLLS}add/", form() | inlines({"char": "one"}))
    assert response.status_code == 302
    poll, everything = Poll.objects.get(), Everything.objects.get()
    assert told(events) == [
        ("created", "testapp.poll", str(poll.pk)),
        ("created", "testapp.everything", str(everything.pk)),
    ]
    assert events[0].snapshot["question"] == "New?"
    assert [event.changes for event in events] == [{}, {}]
    assert [entry.is_addition() for entry in LogEntry.objects.all()] == [True]


def test_changing(admin_client, poll):
    with capture_events() as events:
        admin_client.post(f"{POLLS}{poll.pk}/change/", form(question="New?"))
    assert told(events) == [("updated", "testapp.poll", str(poll.pk))]
    assert events[0].changes == {"question": ["What's up?", "New?"]}
    assert events[0].snapshot["question"] == "New?"
    assert [entry.is_change() for entry in LogEntry.objects.all()] == [True]


def test_saving_without_a_change(admin_client, poll):
    with capture_events() as events:
        admin_client.post(f"{POLLS}{poll.pk}/change/", form(poll))
    assert told(events) == [("updated", "testapp.poll", str(poll.pk))]
    assert events[0].changes == {}


def test_what_the_list_does_not_load(admin_client, poll, monkeypatch):
    def get_queryset(self, request):
        return Poll.objects.defer("question")

    monkeypatch.setattr(admin_site.PollAdmin, "get_queryset", get_queryset)
    with capture_events() as events:
        admin_client.post(f"{POLLS}{poll.pk}/change/", form(question="New?"))
    assert events[0].changes == {"question": ["What's up?", "New?"]}


def test_relations_and_secrets(admin_client, tags):
    obj = Everything.objects.create(char="old", api_key="hunter2", text="left out")
    obj.tags.set(tags[:2])
    data = {"char": "new", "api_key": "hunter3", "tags": [tags[1].pk, tags[2].pk]}
    with capture_events() as events:
        admin_client.post(f"/admin/testapp/everything/{obj.pk}/change/", data)
    [event] = events
    assert event.changes.pop("modified")
    assert event.changes == {
        "char": ["old", "new"],
        "tags": [[tag.pk for tag in tags[:2]], [tag.pk for tag in tags[1:]]],
        "api_key": [REDACTED, REDACTED],
    }
    assert event.snapshot["tags"] == [tag.pk for tag in tags[1:]]
    assert not {"text", "api_key"} & event.snapshot.keys()
    assert event.channels == [f"private-everything_{obj.pk}"]


def test_a_form_with_errors_is_shown_with_what_is_stored(admin_client, poll):
    with capture_events() as events:
        response = admin_client.post(f"{POLLS}{poll.pk}/change/", form(question="New?", owner="0"))
    assert response.status_code == 200
    assert told(events) == [("update", "testapp.poll", str(poll.pk))]
    assert events[0].snapshot["question"] == "What's up?"
    assert events[0].object_repr == "What's up?"


def test_an_add_form_with_errors(admin_client):
    with capture_events() as events:
        assert admin_client.post(f"{POLLS}add/", form(question="")).status_code == 200
    assert told(events) == [("create", "testapp.poll", "")]


def test_saving_as_new(admin_client, poll):
    with capture_events() as events:
        admin_client.post(f"{POLLS}{poll.pk}/change/", form(question="New?", _saveasnew="1"))
        admin_client.post(f"{POLLS}{poll.pk}/change/", form(question="", _saveasnew="1"))
    other = Poll.objects.exclude(pk=poll.pk).get()
    assert told(events) == [("created", "testapp.poll", str(other.pk)), ("create", "testapp.poll", "")]


def test_inlines(admin_client, poll, tags):
    kept, changed, gone = (Everything.objects.create(poll=poll, char=char) for char in ("a", "b", "c"))
    changed.tags.set(tags[:1])
    rows = [
        {"id": kept.pk, "poll": poll.pk, "char": "a"},
        {"id": changed.pk, "poll": poll.pk, "char": "B", "tags": [tags[1].pk]},
        {"id": gone.pk, "poll": poll.pk, "char": "c", "DELETE": "on"},
        {"char": "d", "poll": poll.pk, "tags": [tags[2].pk]},
    ]
    with capture_events() as events:
        admin_client.post(f"{POLLS}{poll.pk}/change/", form(poll) | inlines(*rows, initial=3))
    added = Everything.objects.latest("pk")
    assert told(events) == [
        ("updated", "testapp.poll", str(poll.pk)),
        ("created", "testapp.everything", str(added.pk)),
        ("updated", "testapp.everything", str(changed.pk)),
        ("deleted", "testapp.everything", str(gone.pk)),
    ]
    changes = next(event.changes for event in events if event.object_pk == str(changed.pk))
    assert {name: changes[name] for name in ("char", "tags")} == {
        "char": ["b", "B"],
        "tags": [[tags[0].pk], [tags[1].pk]],
    }
    [creation] = [event for event in events if event.action == "created"]
    assert creation.snapshot["tags"] == [tags[2].pk]
    assert creation.channels == [f"everything_{added.pk}"]


def test_rows_of_a_many_to_many_field_are_no_objects(admin_client, tags, monkeypatch):
    monkeypatch.setattr(admin_site.EverythingAdmin, "inlines", [admin_site.TaggedInline])
    monkeypatch.setattr(admin_site.EverythingAdmin, "fields", ["char"])
    obj = Everything.objects.create(char="a")
    prefix = "Everything_tags"
    data = {f"{prefix}-TOTAL_FORMS": 1, f"{prefix}-INITIAL_FORMS": 0, "char": "a"}
    row = {f"{prefix}-0-everything": obj.pk, f"{prefix}-0-tag": tags[0].pk}
    with capture_events() as events:
        admin_client.post(f"/admin/testapp/everything/{obj.pk}/change/", data | row)
    [event] = events
    assert event.changes["tags"] == [[], [tags[0].pk]]


def test_what_the_project_saves_itself(admin_client, poll, monkeypatch):
    """As Django's documentation has it, without calling `super`."""

    def save_model(self, request, obj, form, change):
        obj.question += "!"
        obj.save()

    def save_formset(self, request, form, formset, change):
        for each in formset.save(commit=False):
            each.slug = "by-hand"
            each.save()
        formset.save_m2m()

    monkeypatch.setattr(admin_site.PollAdmin, "save_model", save_model)
    monkeypatch.setattr(admin_site.PollAdmin, "save_formset", save_formset)
    with capture_events() as events:
        data = form(question="New") | inlines({"char": "d", "poll": poll.pk})
        admin_client.post(f"{POLLS}{poll.pk}/change/", data)
    assert events[0].changes == {"question": ["What's up?", "New!"]}
    assert events[1].snapshot["slug"] == "by-hand"


def test_what_the_project_changes_within_a_value(admin_client, monkeypatch):
    def save_model(self, request, obj, form, change):
        obj.notes["versions"] += 1
        obj.save()

    monkeypatch.setattr(PusherableModelAdmin, "save_model", save_model)
    obj = Document.objects.create(title="Minutes", notes={"versions": 1})
    with capture_events() as events:
        admin_client.post(f"/admin/testapp/document/{obj.pk}/change/", {"id": obj.pk, "title": "Minutes"})
    assert events[0].changes == {"notes": [{"versions": 1}, {"versions": 2}]}


def test_what_another_admin_does_to_the_form(admin_client, poll, monkeypatch):
    """One that stands after ours in the list of bases."""
    get_form = ModelAdmin.get_form

    def disabled(self, *args, **kwargs):
        form = get_form(self, *args, **kwargs)
        form.base_fields["question"].disabled = True
        return form

    monkeypatch.setattr(ModelAdmin, "get_form", disabled)
    assert admin_client.post(f"{POLLS}{poll.pk}/change/", form(question="New?")).status_code == 302
    assert Poll.objects.get().question == "What's up?"


def test_changing_in_the_list(admin_client, poll):
    other = Poll.objects.create(question="Other?", pub_date=poll.pub_date)
    data = {"form-TOTAL_FORMS": 2, "form-INITIAL_FORMS": 2, "_save": "Save"}
    data |= {"form-0-id": other.pk, "form-0-question": "Other?"}
    data |= {"form-1-id": poll.pk, "form-1-question": "New?"}
    with capture_events() as events:
        assert admin_client.post(POLLS, data).status_code == 302
    assert told(events) == [("updated", "testapp.poll", str(poll.pk))]
    assert events[0].changes == {"question": ["What's up?", "New?"]}


def test_adding_a_user(admin_client):
    data = {"username": "ada", "usable_password": "true"}
    passwords = {"password1": "correct horse", "password2": "correct horse"}
    with capture_events() as events:
        assert admin_client.post("/admin/auth/user/add/", data | passwords).status_code == 302
    assert told(events) == [("created", "auth.user", str(User.objects.get(username="ada").pk))]
    assert "correct horse" not in str(vars(events[0]))
    assert "password" not in events[0].snapshot


def test_an_action_of_the_project(admin_client, poll, monkeypatch):
    """It is recorded where it tells the admin's own history."""

    def close(self, request, queryset):
        queryset.update(question="Closed.")
        for each in queryset.all():
            self.log_change(request, each, "Closed.")

    monkeypatch.setattr(admin_site.PollAdmin, "actions", [close])
    with capture_events() as events:
        admin_client.post(POLLS, {"action": "close", "_selected_action": [poll.pk], "index": 0})
    assert told(events) == [("updated", "testapp.poll", str(poll.pk))]
    assert (events[0].snapshot["question"], events[0].changes) == ("Closed.", {})


def test_a_password_set_on_its_own_page(admin_client, admin_user):
    passwords = {"password1": "correct horse", "password2": "correct horse"}
    with capture_events() as events:
        admin_client.post(f"/admin/auth/user/{admin_user.pk}/password/", passwords)
    assert told(events) == [("updated", "auth.user", str(admin_user.pk))]
    assert "password" not in events[0].snapshot


# Deleting


def test_deleting(admin_client, tags):
    obj = Everything.objects.create(char="a")
    obj.tags.set(tags)
    with capture_events() as events:
        response = admin_client.post(f"/admin/testapp/everything/{obj.pk}/delete/", {"post": "yes"})
    assert (response.status_code, Everything.objects.count()) == (302, 0)
    assert told(events) == [("deleted", "testapp.everything", str(obj.pk))]
    assert events[0].snapshot["tags"] == [tag.pk for tag in tags]
    assert events[0].channels == [f"private-everything_{obj.pk}"]


def test_what_cannot_be_deleted(admin_client, tags):
    Bookmark.objects.create(tag=tags[0])
    with capture_events() as events:
        response = admin_client.post(f"/admin/testapp/tag/{tags[0].pk}/delete/", {"post": "yes"})
    assert response.status_code == 200
    assert told(events) == [("delete", "testapp.tag", str(tags[0].pk))]


def test_deleting_several(admin_client, poll):
    other, kept = (Poll.objects.create(question=f"{n}", pub_date=poll.pub_date) for n in range(2))
    with capture_events() as events:
        assert delete_selected(admin_client, poll, other).status_code == 200
    assert events == []
    with capture_events() as events:
        assert delete_selected(admin_client, poll, other, post="yes").status_code == 302
    assert sorted(told(events)) == sorted(
        ("deleted", "testapp.poll", str(each)) for each in (poll.pk, other.pk)
    )
    assert list(Poll.objects.all()) == [kept]


@pytest.mark.django_db(transaction=True)
def test_several_that_cannot_be_deleted(admin_client, poll, monkeypatch, sent):
    def delete_queryset(self, request, queryset):
        raise IntegrityError

    monkeypatch.setattr(admin_site.PollAdmin, "delete_queryset", delete_queryset)
    with capture_events() as events, pytest.raises(IntegrityError):
        delete_selected(admin_client, poll, post="yes")
    assert (events, sent) == ([], [])
    assert not LogEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_change_without_its_event_is_not_saved(poll, without_table):
    User.objects.create_superuser("admin")
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get())
    without_table(AccessEvent._meta.db_table)
    assert client.post(f"{POLLS}{poll.pk}/change/", form(question="New?")).status_code == 500
    assert Poll.objects.get().question == "What's up?"


# Broadcasting


def test_who_broadcasts():
    assert set(broadcast_models()) == {Document, Everything, Poll, Tag, User}
    kinds = {(each.model, each.kind, str(each.view)) for each in broadcasts()}
    assert kinds == {
        (Poll, "public", "testapp.PollAdmin"),
        (Everything, "private", "testapp.EverythingAdmin"),
        (Everything, "public", "None"),
        (Document, "public", "testapp.PusherableModelAdmin"),
        (Tag, "public", "testapp.PusherableModelAdmin"),
        (User, "public", "auth.RecordedUserAdmin"),
    }


def test_the_checks_know_the_admins(monkeypatch):
    monkeypatch.setattr(admin_site.PollAdmin, "pusher_channel_kind", "secret")
    found = [
        (each.id, str(each.obj))
        for each in check_channels()
        if each.id in {"pusherable.E019", "pusherable.W005"}
    ]
    assert found[0] == ("pusherable.E019", "testapp.PollAdmin")
    monkeypatch.undo()
    told = {each.obj: each.msg for each in check_channels() if each.id == "pusherable.W005"}
    assert told.keys() == {Poll, User}
    assert told[Poll].endswith("about users: owner.")


@pytest.mark.django_db(transaction=True)
def test_events_are_sent(admin_client, poll, sent):
    admin_client.post(f"{POLLS}{poll.pk}/change/", form(question="New?"))
    [(channel, name, data)] = sent
    assert (channel, name) == (f"poll_{poll.pk}", "updated")
    assert '"changed":["question"]' in data.replace(" ", "")
