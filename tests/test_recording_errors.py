"""What happens when an access cannot be written: PUSHERABLE_ON_ERROR decides."""

import pytest
from django.db import DatabaseError, connection, transaction
from django.http import HttpResponse
from django.test import Client

from pusherable.models import AccessEvent, Delivery
from pusherable.recording import record_access
from tests.testapp.models import Poll, Tag

pytestmark = pytest.mark.django_db(transaction=True)

TABLES = ["pusherable_accessevent", "pusherable_delivery"]


@pytest.fixture(params=TABLES)
def broken_log(request, poll, without_table, sent):
    without_table(request.param)
    yield request.param
    assert sent == []


def rows_of_the_other_table(missing):
    return (Delivery if missing == TABLES[0] else AccessEvent).objects.count()


def test_raise_is_the_default(broken_log, poll):
    with pytest.raises(DatabaseError):
        record_access(poll, "view")
    assert rows_of_the_other_table(broken_log) == 0  # both or none


def test_raise_takes_the_callers_transaction_along(broken_log, poll):
    with pytest.raises(DatabaseError), transaction.atomic():  # noqa: PT012
        Tag.objects.create(name="before")
        record_access(poll, "view")
    assert not Tag.objects.exists()
    assert rows_of_the_other_table(broken_log) == 0


def test_raise_that_is_caught_still_takes_it_along(broken_log, poll):
    with transaction.atomic():
        with pytest.raises(DatabaseError):
            record_access(poll, "view")
        with pytest.raises(transaction.TransactionManagementError):
            Tag.objects.exists()
        transaction.set_rollback(True)


def test_log_says_so_and_goes_on(broken_log, poll, settings, caplog):
    settings.PUSHERABLE_ON_ERROR = "log"
    assert record_access(poll, "view") is None
    (record,) = [record for record in caplog.records if record.name == "pusherable.recording"]
    assert record.levelname == "ERROR"
    assert record.getMessage() == "The access 'view' of a testapp.poll was served but could not be recorded."
    assert isinstance(record.exc_info[1], DatabaseError)
    assert rows_of_the_other_table(broken_log) == 0


def test_log_leaves_the_callers_transaction_usable(broken_log, poll, settings):
    settings.PUSHERABLE_ON_ERROR = "log"
    with transaction.atomic():
        Tag.objects.create(name="before")
        assert record_access(poll, "view") is None
        Tag.objects.create(name="after")
    assert Tag.objects.count() == 2
    assert rows_of_the_other_table(broken_log) == 0


def view(request, pk):
    record_access(Poll.objects.get(pk=pk), "view", request=request)
    return HttpResponse()


@pytest.mark.parametrize(("on_error", "status"), [("raise", 500), ("log", 200)])
@pytest.mark.usefixtures("broken_log")
def test_the_page(poll, settings, serve, on_error, status):
    settings.PUSHERABLE_ON_ERROR = on_error
    serve(view)
    client = Client(raise_request_exception=False)
    assert client.get(f"/{poll.pk}/").status_code == status


@pytest.mark.usefixtures("broken_log")
def test_the_page_under_atomic_requests(poll, settings, serve, client, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    settings.PUSHERABLE_ON_ERROR = "log"
    serve(view)
    assert client.get(f"/{poll.pk}/").status_code == 200


def context_that_fails(request):
    raise RuntimeError("no tenant")


def test_what_the_project_adds_may_fail_as_well(poll, settings, caplog):
    settings.PUSHERABLE_CONTEXT = context_that_fails
    with pytest.raises(RuntimeError, match="no tenant"):
        record_access(poll, "view")
    settings.PUSHERABLE_ON_ERROR = "log"
    assert record_access(poll, "view") is None
    assert "no tenant" in caplog.text


def test_log_records_what_can_be_recorded(poll, settings, sent):
    settings.PUSHERABLE_ON_ERROR = "log"
    with transaction.atomic():
        event = record_access(poll, "view")
    assert AccessEvent.objects.get() == event
    assert len(sent) == 1


def test_log_forgets_nothing_that_is_rolled_back(poll, settings, sent):
    settings.PUSHERABLE_ON_ERROR = "log"
    with transaction.atomic():
        record_access(poll, "view")
        transaction.set_rollback(True)
    assert not AccessEvent.objects.exists()
    assert sent == []
