"""What workers do."""

import pytest

from pusherable import tasks
from pusherable.delivery.breaker import breaker
from pusherable.models import Delivery
from pusherable.recording import record_access

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_outage():
    """None is known at the start, and none is left to be known by other tests."""
    breaker.reset()
    yield
    breaker.reset()


@pytest.fixture
def due(poll, woken):
    """So many events of the poll, due, in a project that has somebody to wake."""

    def due(count):
        for _ in range(count):
            record_access(poll, "view")
        woken.clear()

    return due


def test_it_sends_what_is_due(due, sent, woken):
    due(3)
    tasks.drain("default")
    assert len(sent) == 3
    assert not Delivery.objects.exists()
    assert woken == []


def test_the_rest_of_a_backlog_is_for_the_next_task(due, sent, woken, monkeypatch):
    monkeypatch.setattr(tasks, "LIMIT", 4)
    due(6)
    tasks.drain("default")
    assert len(sent) == 4
    assert woken == ["default"]


def test_where_nothing_can_be_sent_no_other_task_is_asked_for(due, settings, woken):
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "no.such.Transport"}
    due(3)
    tasks.drain("default")
    assert Delivery.objects.count() == 3
    assert woken == []
