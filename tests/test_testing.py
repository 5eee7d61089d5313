import threading

import pytest
from django.db import connection, transaction

from pusherable.models import AccessEvent
from pusherable.recording import record_access
from pusherable.testing import capture_events


@pytest.mark.django_db
def test_the_events_of_the_block_oldest_first(poll):
    record_access(poll, "before")
    with capture_events() as events:
        record_access(poll, "view")
        record_access(poll, "update", extra={"n": 1})
        assert events == []
    record_access(poll, "after")
    assert [event.action for event in events] == ["view", "update"]
    assert events[1].context == {"n": 1}


@pytest.mark.django_db
def test_nothing_recorded_nothing_captured():
    with capture_events() as events:
        pass
    assert events == []


@pytest.mark.django_db
def test_what_was_taken_back_is_not_in_it(poll):
    with capture_events() as events:
        record_access(poll, "view")
        with transaction.atomic():
            record_access(poll, "update")
            transaction.set_rollback(True)
    assert [event.action for event in events] == ["view"]


@pytest.mark.django_db
def test_deleting_older_events_meanwhile_does_no_harm(poll):
    record_access(poll, "before")
    with capture_events() as events:
        AccessEvent.objects.all().delete()
        record_access(poll, "view")
    assert [event.action for event in events] == ["view"]


@pytest.mark.django_db(transaction=True)
def test_what_another_thread_records_is_in_it(poll):
    def elsewhere():
        record_access(poll, "view")
        connection.close()

    with capture_events() as events:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert [event.action for event in events] == ["view"]


@pytest.mark.django_db(databases=["default", "log"])
def test_of_another_database(poll):
    with capture_events("log") as apart, capture_events() as default:
        record_access(poll, "view", using="log")
    assert [event.action for event in apart] == ["view"]
    assert default == []
