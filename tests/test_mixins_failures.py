"""The change and its event are saved together, or neither is."""

import pytest
from django.db import DatabaseError, IntegrityError, connection, models
from django.forms import ModelForm

from pusherable.models import AccessEvent
from tests.testapp.models import Bookmark, Device, Poll, Tag
from tests.testapp.views import PollCreate, PollDelete, PollUpdate

pytestmark = pytest.mark.django_db(transaction=True)

CHANGED = {"question": "New?", "pub_date": "2026-11-22"}


@pytest.fixture
def log_is_broken(poll, without_table, sent):
    without_table("pusherable_accessevent")
    yield
    assert sent == []


@pytest.fixture(params=[False, True], ids=["", "ATOMIC_REQUESTS"])
def with_and_without_atomic_requests(request, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", request.param)


@pytest.mark.usefixtures("log_is_broken")
@pytest.mark.parametrize(
    ("view", "method"),
    [(PollUpdate, "post"), (PollCreate, "post"), (PollDelete, "post"), (PollDelete, "delete")],
)
def test_without_its_event_nothing_changes(client, poll, serve, view, method):
    serve(view)
    before = list(Poll.objects.values())
    with pytest.raises(DatabaseError):
        getattr(client, method)(f"/{poll.pk}/", CHANGED)
    assert list(Poll.objects.values()) == before


@pytest.mark.usefixtures("log_is_broken", "with_and_without_atomic_requests")
def test_with_on_error_log_the_change_is_saved(client, poll, serve, settings):
    settings.PUSHERABLE_ON_ERROR = "log"
    serve(PollUpdate)
    assert client.post(f"/{poll.pk}/", CHANGED).status_code == 302
    assert Poll.objects.get().question == "New?"


class DeviceForm(ModelForm):
    class Meta:
        model = Device
        fields = ["serial"]

    def validate_unique(self):
        """Leave it to the database, as a race between two requests does."""


@pytest.mark.usefixtures("with_and_without_atomic_requests")
@pytest.mark.parametrize(("view", "page"), [(PollUpdate, "update"), (PollCreate, "create")])
def test_an_error_of_the_database_that_the_view_answers(client, serve, sent, view, page):
    class Catches(view):
        model, fields, form_class = Device, None, DeviceForm

        def form_valid(self, form):
            try:
                return super().form_valid(form)
            except IntegrityError:
                form.add_error("serial", "It exists already.")
                return self.form_invalid(form)

    device = Device.objects.create(serial="one")
    Device.objects.create(serial="two")
    serve(Catches)
    response = client.post(f"/{device.pk}/", {"serial": "two"})
    assert "It exists already." in response.text
    event = AccessEvent.objects.get()
    assert event.action == page
    assert "two" not in event.snapshot.values()
    assert len(sent) == (page == "update")


class Refuses:
    """A project's own base view, which stands below the mixin and answers a failed save itself."""

    def form_valid(self, form):
        form.add_error(None, "Not now.")
        return self.form_invalid(form)


@pytest.mark.parametrize(
    ("view", "page"), [(PollUpdate, "update"), (PollCreate, "create"), (PollDelete, "delete")]
)
def test_a_save_that_the_base_view_refuses_is_no_change(client, poll, serve, view, page):
    mixin, *rest = view.__bases__
    serve(type("Refused", (mixin, Refuses, *rest), dict(vars(view))))
    response = client.post(f"/{poll.pk}/", CHANGED)
    assert "Not now." in str(response.context["form"].errors)
    assert [event.action for event in AccessEvent.objects.all()] == [page]
    assert Poll.objects.get().question == "What's up?"


def test_a_save_that_fails_leaves_nothing(client, poll, serve, sent, monkeypatch):
    def save(self, *args, **kwargs):
        super(Poll, self).save(*args, **kwargs)
        raise RuntimeError("after the UPDATE")

    monkeypatch.setattr(Poll, "save", save)
    serve(PollUpdate)
    with pytest.raises(RuntimeError):
        client.post(f"/{poll.pk}/", CHANGED)
    assert Poll.objects.get().question == "What's up?"
    assert not AccessEvent.objects.exists()
    assert sent == []


def test_a_view_that_fails_after_the_change_keeps_both(client, poll, serve, sent):
    class Update(PollUpdate):
        def form_valid(self, form):
            super().form_valid(form)
            raise RuntimeError("after the transaction")

    serve(Update)
    with pytest.raises(RuntimeError):
        client.post(f"/{poll.pk}/", CHANGED)
    assert Poll.objects.get().question == "New?"
    assert AccessEvent.objects.get().action == "updated"
    assert len(sent) == 1


def test_a_refused_deletion_that_the_view_answers(client, serve, sent):
    class Delete(PollDelete):
        model = Tag

        def form_valid(self, form):
            try:
                return super().form_valid(form)
            except models.ProtectedError:
                return self.render_to_response(self.get_context_data(form=form))

    tag = Tag.objects.create(name="a")
    Bookmark.objects.create(tag=tag)
    serve(Delete)
    assert client.post(f"/{tag.pk}/").status_code == 200
    event = AccessEvent.objects.get()
    assert (event.action, event.snapshot) == ("delete", {"id": tag.pk, "name": "a"})
    assert len(sent) == 1


def test_the_messages_leave_after_the_change_is_committed(client, poll, serve, sent):
    seen = []

    class Update(PollUpdate):
        def form_valid(self, form):
            response = super().form_valid(form)
            seen.extend(message.name for message in sent)
            return response

    serve(Update)
    client.post(f"/{poll.pk}/", CHANGED)
    assert seen == ["updated"]
