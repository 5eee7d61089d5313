"""A valid form: what was saved stands in the log, as it was before and as it is now."""

import datetime as dt
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage
from django.db import connection
from django.db.models import F
from django.forms import modelform_factory
from django.utils.functional import SimpleLazyObject

from pusherable.models import AccessEvent
from pusherable.redaction import REDACTED
from tests.testapp.models import Everything, Poll, PollProxy, Restaurant, Tag
from tests.testapp.views import PollUpdate

pytestmark = pytest.mark.django_db

OLD_DATE, NEW_DATE = "2013-08-08T11:16:24Z", "2026-11-22T00:00:00Z"
UNCHANGED = {"question": "What's up?", "pub_date": "2013-08-08 11:16:24"}
CHANGED = {"question": "New?", "pub_date": "2013-08-08 11:16:24"}


def only_event(action):
    event = AccessEvent.objects.get()
    assert event.action == action
    return event


def test_an_update_with_its_changes(admin_client, poll, serve):
    serve(PollUpdate)
    response = admin_client.post(f"/{poll.pk}/", CHANGED | {"pub_date": "2026-11-22"})
    assert (response.status_code, response.url) == (302, "/done/")
    event = only_event("updated")
    assert event.changes == {"question": ["What's up?", "New?"], "pub_date": [OLD_DATE, NEW_DATE]}
    assert event.snapshot["question"] == "New?"
    assert (event.username, event.object_repr) == ("admin", "New?")
    assert event.channels == [f"poll_{poll.pk}"]


def test_saving_without_a_change(client, poll, serve):
    serve(PollUpdate)
    client.post(f"/{poll.pk}/", UNCHANGED)
    assert only_event("updated").changes == {}


def test_put_is_an_update_too(client, poll, serve):
    serve(PollUpdate)
    # Django reads no form from a PUT, so it is an invalid one.
    assert client.put(f"/{poll.pk}/", "question=New").status_code == 200
    assert only_event("update").snapshot["question"] == "What's up?"


def test_changes_of_fields_that_the_snapshot_leaves_out(client, poll, serve):
    serve(type("Update", (PollUpdate,), {"pusher_include_model_fields": "id"}))
    client.post(f"/{poll.pk}/", CHANGED)
    event = only_event("updated")
    assert event.snapshot == {"id": poll.pk}
    assert event.changes == {"question": ["What's up?", "New?"]}


@pytest.mark.parametrize(
    "data", [{"question": "", "pub_date": "2013-08-08"}, {"question": "HACKED", "pub_date": "x"}]
)
def test_an_invalid_form_shows_the_page_and_says_what_is_stored(client, poll, serve, data):
    serve(PollUpdate)
    assert client.post(f"/{poll.pk}/", data).status_code == 200
    event = only_event("update")
    assert event.snapshot["question"] == event.object_repr == "What's up?"
    assert event.changes == {}


def test_what_an_invalid_form_does_is_not_stored_either(client, everything, serve):
    class Form(modelform_factory(Everything, fields=["char"])):
        def clean(self):
            self.instance.json["a"].append("HACKED")
            raise ValidationError("no")

    class Update(EverythingUpdate):
        fields, form_class = None, Form

        def form_invalid(self, form):
            return self.render_to_response(self.get_context_data())  # makes another form

    serve(Update)
    client.post(f"/{everything.pk}/", {"char": "HACKED"})
    snapshot = only_event("update").snapshot
    assert (snapshot["char"], snapshot["json"]) == ("x", {"a": [1]})


def test_what_the_view_changes_before_saving(client, poll, serve, django_user_model):
    owner = django_user_model.objects.create(username="owner")

    class Update(PollUpdate):
        def form_valid(self, form):
            form.instance.owner = owner
            return super().form_valid(form)

    serve(Update)
    client.post(f"/{poll.pk}/", CHANGED)
    assert only_event("updated").changes == {"question": ["What's up?", "New?"], "owner": [None, owner.pk]}


def test_what_save_changes(client, poll, serve, monkeypatch):
    def save(self, *args, **kwargs):
        self.date = dt.date(2026, 11, 22)
        super(Poll, self).save(*args, **kwargs)

    monkeypatch.setattr(Poll, "save", save)
    serve(PollUpdate)
    client.post(f"/{poll.pk}/", UNCHANGED)
    event = only_event("updated")
    assert event.changes == {"date": [None, "2026-11-22"]}
    assert event.snapshot["date"] == "2026-11-22"


def own_form(self, form_class=None):
    return modelform_factory(Poll, fields=["question"])(self.request.POST or None, instance=self.object)


@pytest.mark.parametrize(
    "own",
    [
        {"get_object": lambda self, queryset=None: Poll.objects.get()},
        {"get_object": lambda self, queryset=None: PollProxy.objects.get()},
        {"get_object": lambda self, queryset=None: SimpleLazyObject(Poll.objects.get)},
        {"get_object": lambda self, queryset=None: Poll.objects.only("question").get()},
        {"get_form": own_form},
    ],
    ids=["own", "proxy", "lazy", "deferred", "form"],
)
def test_a_view_with_its_own_object_or_form(client, poll, serve, own):
    serve(type("Update", (PollUpdate,), {"fields": ["question"], **own}))
    client.post(f"/{poll.pk}/", CHANGED)
    event = only_event("updated")
    assert event.changes == {"question": ["What's up?", "New?"]}
    assert (event.object_type, event.snapshot["question"]) == ("testapp.poll", "New?")


def test_an_update_view_that_makes_its_object(client, serve):
    def get_object(self, queryset=None):
        return Poll(pub_date=dt.datetime(2026, 11, 22, tzinfo=dt.UTC))

    for own in ({}, {"get_form": own_form}):
        serve(type("Update", (PollUpdate,), {"fields": ["question"], "get_object": get_object, **own}))
        assert client.post("/", {"question": "New?"}).status_code == 302
        event = AccessEvent.objects.latest("id")
        assert (event.action, event.object_pk) == ("updated", str(Poll.objects.latest("id").pk))
        assert event.snapshot["question"] == "New?"


class EverythingUpdate(PollUpdate):
    model = Everything
    fields = ["char"]

    def change(self, obj):
        """What the test does to the object before it is saved."""

    def form_valid(self, form):
        self.change(form.instance)
        return super().form_valid(form)


@pytest.fixture
def update(client, serve):
    def update(change=lambda obj: None, fields=("char",), **data):
        obj = Everything.objects.get()
        serve(
            type("Update", (EverythingUpdate,), {"change": lambda self, obj: change(obj), "fields": fields})
        )
        response = client.post(f"/{obj.pk}/", {"char": "x", **data})
        assert response.status_code == 302, response.context["form"].errors
        changes = only_event("updated").changes
        assert "modified" in changes  # auto_now
        return {name: pair for name, pair in changes.items() if name != "modified"}

    return update


@pytest.fixture
def everything(db):
    return Everything.objects.create(
        char="x", integer=20, decimal=Decimal("1.50"), json={"a": [1], "token": "t"}, password="old"
    )


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        ("integer", F("integer") + 1, {"integer": [20, 21], "doubled": [40, 42]}),
        ("integer", 21, {"integer": [20, 21], "doubled": [40, 42]}),
        ("decimal", Decimal("1.5"), {}),
        ("decimal", "1.51", {"decimal": ["1.50", "1.51"]}),
        ("binary", b"x", {"binary": [None, "eA=="]}),
        ("internal", "note", {"internal": ["", "note"]}),
        ("password", "new", {"password": [REDACTED, REDACTED]}),
        ("json", {"token": "other", "a": [1]}, {"json": [REDACTED, REDACTED]}),
        ("json", {"token": "t", "a": [2]}, {"json": [{"a": [1]}, {"a": [2]}]}),
        ("rating", ("*", "*"), {"rating": [None, "2"]}),
    ],
)
def test_a_change_of_every_kind(everything, update, attribute, value, expected):
    assert update(lambda obj: setattr(obj, attribute, value)) == expected


def test_the_snapshot_after_an_expression(everything, update):
    update(lambda obj: setattr(obj, "integer", F("integer") + 1))
    assert AccessEvent.objects.get().snapshot["integer"] == 21


def test_an_expression_in_a_model_without_generated_fields(client, serve):
    obj = Restaurant.objects.create(name="Chez", stars=2)

    class Update(PollUpdate):
        model, fields = Restaurant, ["name"]

        def form_valid(self, form):
            form.instance.stars = F("stars") + 1
            return super().form_valid(form)

    serve(Update)
    client.post(f"/{obj.pk}/", {"name": "Chez"})
    event = only_event("updated")
    assert event.changes == {"stars": [2, 3]}
    assert event.snapshot["stars"] == 3


def test_json_that_is_changed_in_place(everything, update):
    assert update(lambda obj: obj.json["a"].append(2)) == {"json": [{"a": [1]}, {"a": [1, 2]}]}


def test_many_to_many(everything, update):
    tags = [Tag.objects.create(name=name) for name in "abc"]
    everything.tags.set(tags[:2])
    keys = [tag.pk for tag in tags]
    assert update(fields=["char", "tags"], tags=keys[1:]) == {"tags": [keys[:2], keys[1:]]}
    assert AccessEvent.objects.get().snapshot["tags"] == keys[1:]


def test_a_foreign_key(everything, poll, update):
    assert update(fields=["char", "poll"], poll=poll.pk) == {"poll": [None, poll.pk]}


def test_a_file(everything, update, monkeypatch):
    monkeypatch.setattr(Everything._meta.get_field("file"), "storage", InMemoryStorage(base_url="/media/"))
    changes = update(fields=["char", "file"], file=ContentFile(b"x", name="a.txt"))
    assert changes == {"file": [None, {"name": "files/a.txt", "url": "/media/files/a.txt"}]}


class SigningStorage(InMemoryStorage):
    """Gives another address each time it is asked, as stores of private files do."""

    signature = 0

    def url(self, name):
        self.signature += 1
        return f"/{name}?signature={self.signature}"


def test_an_address_that_is_signed_anew_is_no_change(everything, update, monkeypatch):
    monkeypatch.setattr(Everything._meta.get_field("file"), "storage", SigningStorage())
    Everything.objects.filter(pk=everything.pk).update(file="files/a.txt")
    assert update(char="y") == {"char": ["x", "y"]}


def test_the_page_after_a_change_shows_the_new_object(client, poll, serve):
    class Update(PollUpdate):
        def form_valid(self, form):
            super().form_valid(form)
            return self.render_to_response(self.get_context_data(form=form))

    serve(Update)
    client.post(f"/{poll.pk}/", CHANGED)
    updated, page = AccessEvent.objects.order_by("id")
    assert (updated.action, page.action) == ("updated", "update")
    assert page.snapshot["question"] == page.object_repr == "New?"


def test_an_update_reads_nothing_a_second_time(client, poll, serve, django_assert_num_queries):
    serve(PollUpdate)
    # The object, a savepoint and its release, the UPDATE, the event and its delivery.
    with django_assert_num_queries(5 if connection.vendor == "postgresql" else 6):
        client.post(f"/{poll.pk}/", CHANGED)
