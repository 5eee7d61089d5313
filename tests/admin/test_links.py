"""Where the list leads: to objects that exist, and that the reader may see."""

import pytest

from tests.admin.pages import links, listed
from tests.testapp.models import Document, Restaurant

pytestmark = pytest.mark.django_db


def test_an_object_that_exists_is_linked_and_one_that_is_gone_is_text(browse, record, poll):
    record(object_pk=str(poll.pk), object_repr="here")
    record(object_pk="404", object_repr="gone")
    found = links(browse()[1])
    assert found["here"] == f"/admin/testapp/poll/{poll.pk}/change/"
    assert "gone" not in found


def test_keys_of_every_type_are_linked(browse, record, poll):
    document = Document.objects.create(title="x")
    place = Restaurant.objects.create(name="y")
    record(object_pk=str(poll.pk), object_repr="poll")
    record(object_type="testapp.document", object_pk=str(document.pk), object_repr="document")
    record(object_type="testapp.restaurant", object_pk=str(place.pk), object_repr="restaurant")
    assert {"poll", "document", "restaurant"} <= set(links(browse()[1]))


@pytest.mark.parametrize(
    ("object_type", "object_pk"),
    [
        ("gone.thing", "1"),
        ("testapp", "1"),
        ("testapp.tag", "1"),  # no page in the admin
        ("testapp.poll", "x"),
        ("testapp.poll", str(10**30)),
        ("testapp.restaurant", str(10**30)),
        ("testapp.document", "1"),
        ("testapp.poll", ""),
        ("", ""),
    ],
)
def test_what_cannot_be_linked_is_text(browse, record, object_type, object_pk):
    record(object_type=object_type, object_pk=object_pk, object_repr="it")
    _events, response = browse()
    assert "it" not in links(response)
    assert "<bdi>it</bdi>" in response.content.decode()


def test_no_link_to_what_the_reader_may_not_see(staff, record, poll):
    record(object_pk=str(poll.pk), object_repr="here")
    assert "here" not in links(listed(staff("view"))[1])
