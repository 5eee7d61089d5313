"""What the events of the admin cost in queries."""

from functools import partial

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pusherable.model_admin import PusherableModelAdmin
from tests.admin_site import POLLS, delete_selected, form, inlines
from tests.testapp.models import Everything, Poll, Tag

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _site(settings):
    settings.ROOT_URLCONF = "tests.admin_site"


@pytest.fixture
def plain(monkeypatch):
    """Takes the recording out of the admins of the site."""

    def plain():
        for name, value in vars(PusherableModelAdmin).items():
            if callable(value) and name in vars(admin.ModelAdmin):
                monkeypatch.setattr(PusherableModelAdmin, name, getattr(admin.ModelAdmin, name))

    return plain


def reads(ask):
    """How many times it reads from the database."""
    with CaptureQueriesContext(connection) as queries:
        assert ask().status_code in {200, 302}
    return len([query for query in queries if query["sql"].startswith("SELECT")])


def extra_reads(plain, *asks):
    """How many times more each reads than without recording."""
    for ask in asks:
        ask()  # content types are read once
    recorded = [reads(ask) for ask in asks]
    plain()
    return [number - reads(ask) for number, ask in zip(recorded, asks, strict=True)]


def test_what_a_page_reads(admin_client, poll, plain):
    tagged = Everything.objects.create(char="a")
    urls = [f"{POLLS}add/", f"{POLLS}{poll.pk}/change/", f"{POLLS}{poll.pk}/delete/"]
    urls += [f"/admin/testapp/everything/{tagged.pk}/{page}/" for page in ("change", "delete")]
    asks = [partial(admin_client.get, url) for url in urls]
    # What the page's element asks: who may see whom, and which version there is. The snapshot reads the keys
    # of a many-to-many field, and so does that version; a model with a generated field is read as well.
    assert extra_reads(plain, *asks) == [0, 2, 0, 5, 1]


def test_what_saving_reads(admin_client, poll, plain):
    tagged = Everything.objects.create(char="a")
    asks = [
        partial(admin_client.post, f"{POLLS}{poll.pk}/change/", form(poll)),
        partial(admin_client.post, f"{POLLS}add/", form()),
        partial(
            admin_client.post, f"/admin/testapp/everything/{tagged.pk}/change/", {"char": "a", "tags": []}
        ),
    ]
    # Where there is a many-to-many field, its keys before and after; a model with a generated field is read
    # as well.
    assert extra_reads(plain, *asks) == [0, 0, 4]


def tagged(number, **fields):
    tags = [Tag.objects.create(name=name) for name in "abc"]
    objs = [Everything.objects.create(char=f"{n}", **fields) for n in range(number)]
    for obj in objs:
        obj.tags.set(tags)
    return objs


def test_deleting_many_reads_no_more(admin_client):
    admin_client.get("/admin/testapp/everything/")
    few, many = (
        reads(partial(delete_selected, admin_client, *tagged(number), post="yes")) for number in (2, 6)
    )
    assert few == many


def test_many_inlines_read_no_more(admin_client, poll, plain):
    """What is in the inlines is read before and after, and its many-to-many keys each time."""

    def save(objs, char):
        rows = [{"id": obj.pk, "poll": poll.pk, "char": char, "tags": []} for obj in objs]
        data = form(poll) | inlines(*rows, initial=len(objs))
        return partial(admin_client.post, f"{POLLS}{poll.pk}/change/", data)

    objs = tagged(6, poll=poll)
    save(objs, "first")()
    recorded = [reads(save(objs, "recorded"))]
    Everything.objects.filter(pk__in=[obj.pk for obj in objs[2:]]).update(poll=None)
    recorded.append(reads(save(objs[:2], "recorded again")))
    plain()
    few = reads(save(objs[:2], "plain"))
    Everything.objects.update(poll=poll)
    many = reads(save(objs, "plain again"))
    assert [recorded[0] - many, recorded[1] - few] == [4, 4]


def test_changing_in_the_list_reads_each_that_has_changed(admin_client, poll, plain):
    polls = [poll, *(Poll.objects.create(question=f"{n}", pub_date=poll.pub_date) for n in range(5))]

    def save(question):
        data = {"form-TOTAL_FORMS": 6, "form-INITIAL_FORMS": 6, "_save": "Save"}
        for n, each in enumerate(polls):
            data |= {f"form-{n}-id": each.pk, f"form-{n}-question": question if n < 2 else each.question}
        return partial(admin_client.post, POLLS, data)

    save("first")()
    recorded = reads(save("recorded"))
    plain()
    assert recorded - reads(save("plain")) == 2
