"""What the list costs, whatever is asked and however much there is."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pusherable.browsing import paging
from tests.admin.pages import LIST
from tests.testapp.models import Document, Place

pytestmark = pytest.mark.django_db

QUESTIONS = [
    {},
    {"username": "ada"},
    {"remote_addr": "none"},
    {"status": "failed"},
    {"before_id": "900"},
    {"after": "2026-01-01", "before": "2026-12-31", "action": "view", "q": "x"},
]


@pytest.mark.parametrize("data", QUESTIONS, ids=str)
def test_at_most_five_queries(admin_client, record, poll, data, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(paging, "WINDOW", 3)
    for number in range(60):
        record(object_pk=str(poll.pk), username="ada", channels=["c"])
        record(object_type="testapp.document", object_pk=f"{number}", username="ada")
        record(object_type="testapp.restaurant", object_pk=f"{number}", username="ada")
    with django_assert_max_num_queries(5 + 2) as captured:  # session and user
        admin_client.get(LIST, data)
    sql = " ".join(query["sql"] for query in captured)
    assert "COUNT(" not in sql
    assert "DISTINCT" not in sql


def test_the_first_page_takes_three_queries(admin_client, record, poll, django_assert_num_queries):
    for _ in range(60):
        record(object_pk=str(poll.pk))
    with django_assert_num_queries(
        3 + 2
    ):  # the page, its links and what there is to choose; session and user
        admin_client.get(LIST)


def test_a_search_is_one_insert_more(admin_client, record, poll, django_assert_num_queries):
    for _ in range(60):
        record(object_pk=str(poll.pk), username="ada")
    with django_assert_num_queries(3 + 2 + 1) as captured:
        admin_client.get(LIST, {"username": "ada"})
    assert sum(query["sql"].startswith("INSERT") for query in captured) == 1


def test_the_number_of_models_does_not_matter(admin_client, record, poll):
    with CaptureQueriesContext(connection) as one:
        record(object_pk=str(poll.pk))
        admin_client.get(LIST)
    Document.objects.create(title="x")
    for object_type in ("testapp.document", "testapp.restaurant"):
        record(object_type=object_type, object_pk="00000000-0000-0000-0000-000000000001")
        record(object_type=object_type, object_pk="1")
    with CaptureQueriesContext(connection) as more:
        record()
        admin_client.get(LIST)
    assert len(more) == len(one)
    assert Place.objects.count() == 0
