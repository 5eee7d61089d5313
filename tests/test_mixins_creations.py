"""What a valid form leaves in the log where an object comes or goes."""

import pytest
from django.db.models import ProtectedError
from django.utils.functional import SimpleLazyObject

from pusherable.models import AccessEvent
from tests.testapp.models import Bookmark, Everything, Poll, Tag
from tests.testapp.views import PollCreate, PollDelete

pytestmark = pytest.mark.django_db

POSTED = {"question": "New?", "pub_date": "2013-08-08 11:16:24"}


def only_event(action):
    event = AccessEvent.objects.get()
    assert event.action == action
    return event


def test_a_creation(admin_client, serve):
    serve(PollCreate)
    assert admin_client.post("/", POSTED).status_code == 302
    poll = Poll.objects.get()
    event = only_event("created")
    assert (event.object_pk, event.object_repr, event.username) == (str(poll.pk), "New?", "admin")
    assert event.snapshot == {
        "id": poll.pk,
        "question": "New?",
        "pub_date": "2013-08-08T11:16:24Z",
        "date": None,
        "owner": None,
    }
    assert (event.changes, event.channels) == ({}, [f"poll_{poll.pk}"])


def test_a_creation_with_many_to_many_and_generated_fields(client, serve):
    tag = Tag.objects.create(name="a")
    names = ["char", "integer", "tags"]
    include = [*names, "doubled"]
    serve(
        type(
            "Create",
            (PollCreate,),
            {"model": Everything, "fields": names, "pusher_include_model_fields": include},
        )
    )
    assert client.post("/", {"char": "x", "integer": 4, "tags": tag.pk}).status_code == 302
    assert only_event("created").snapshot == {"char": "x", "integer": 4, "doubled": 8, "tags": [tag.pk]}


def test_an_invalid_creation(client, serve):
    serve(PollCreate)
    assert client.post("/", {"question": ""}).status_code == 200
    assert only_event("create").object_pk == ""


@pytest.mark.parametrize("method", ["post", "delete"])
def test_a_deletion(admin_client, poll, serve, method):
    serve(PollDelete)
    response = getattr(admin_client, method)(f"/{poll.pk}/")
    assert (response.status_code, response.url) == (302, "/done/")
    assert not Poll.objects.exists()
    event = only_event("deleted")
    assert (event.object_pk, event.object_repr, event.username) == (str(poll.pk), "What's up?", "admin")
    assert (event.snapshot["id"], event.snapshot["question"]) == (poll.pk, "What's up?")
    assert event.channels == [f"poll_{poll.pk}"]


def test_a_deletion_keeps_what_the_object_was_related_to(client, serve):
    obj = Everything.objects.create(char="x")
    tag = Tag.objects.create(name="a")
    obj.tags.add(tag)
    serve(type("Delete", (PollDelete,), {"model": Everything}))
    client.post(f"/{obj.pk}/")
    assert only_event("deleted").snapshot["tags"] == [tag.pk]


def test_a_lazy_object_is_deleted(client, poll, serve):
    serve(
        type(
            "Delete",
            (PollDelete,),
            {"get_object": lambda self, queryset=None: SimpleLazyObject(Poll.objects.get)},
        )
    )
    client.post(f"/{poll.pk}/")
    assert only_event("deleted").object_pk == str(poll.pk)


@pytest.mark.parametrize("method", ["post", "delete"])
def test_a_deletion_that_is_protected(client, serve, method):
    tag = Tag.objects.create(name="a")
    Bookmark.objects.create(tag=tag)
    serve(type("Delete", (PollDelete,), {"model": Tag}))
    with pytest.raises(ProtectedError):
        getattr(client, method)(f"/{tag.pk}/")
    assert not AccessEvent.objects.exists()
    assert Tag.objects.exists()
