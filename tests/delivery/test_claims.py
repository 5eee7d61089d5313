"""What a relay writes in the queue survives a deadlock with somebody else."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection, connections, transaction

from pusherable.delivery import claims
from pusherable.models import Delivery

WAITING = {
    "postgresql": "SELECT COUNT(*) FROM pg_locks WHERE NOT granted",
    "mysql": "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


@pytest.fixture
def statements():
    """Every write on the queue, and the error that it ended with; the first ones end as `errors` has it."""

    class Statements(list):
        errors = ()

        def __call__(self, execute, sql, params, many, context):
            if not sql.startswith(("UPDATE", "DELETE")):
                return execute(sql, params, many, context)
            self.append(None)
            try:
                if len(self) <= len(self.errors):
                    raise self.errors[len(self) - 1]
                return execute(sql, params, many, context)
            except OperationalError as error:
                self[-1] = error
                raise

    statements = Statements()
    with connection.execute_wrapper(statements):
        yield statements


def claimed(enqueue, count):
    """So many deliveries under a claim, the oldest first."""
    enqueue(count)
    Delivery.objects.update(claim=uuid.uuid4())
    return list(Delivery.objects.order_by("event_id"))


DEADLOCK = OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction")


@pytest.mark.vendor("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_of_two_that_wait_for_each_other_the_relay_begins_again(enqueue, statements):
    first, last, *others = claimed(enqueue, 100)
    statements.clear()
    holds, is_over = threading.Event(), threading.Event()

    def somebody():
        try:
            with transaction.atomic():
                if connection.vendor == "postgresql":  # who finds the deadlock is the one to end
                    connection.cursor().execute("SET LOCAL deadlock_timeout = '1min'")
                # On InnoDB, it is the one that has changed less.
                Delivery.objects.filter(pk__in=[one.pk for one in (last, *others)]).update(last_error="mine")
                holds.set()
                waiting = 0
                while not waiting and not is_over.is_set():
                    with connection.cursor() as cursor:
                        cursor.execute(WAITING[connection.vendor])
                        [waiting] = cursor.fetchone()
                    threading.Event().wait(0.2)  # InnoDB tells anew after 0.1 s without a question
                Delivery.objects.filter(pk=first.pk).update(last_error="mine")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(somebody)
        try:
            assert holds.wait(60)
            assert claims.update([first, last], "default", attempts=7) == 2
        finally:
            is_over.set()
        running.result(60)
    assert [type(error) for error in statements] == [OperationalError, type(None)]
    assert list(Delivery.objects.filter(attempts=7, last_error="mine")) == [first, last]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("deadlocks", [1, claims.TRIES - 1])
def test_it_begins_again_a_few_times(enqueue, statements, deadlocks):
    [delivery] = claimed(enqueue, 1)
    statements.clear()
    statements.errors = [DEADLOCK] * deadlocks
    claims.delete([delivery], "default")
    assert len(statements) == deadlocks + 1
    assert not Delivery.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_it_does_not_begin_again_for_ever(enqueue, statements):
    [delivery] = claimed(enqueue, 1)
    statements.clear()
    statements.errors = [DEADLOCK] * claims.TRIES
    with pytest.raises(OperationalError, match="Deadlock found"):
        claims.update([delivery], "default", attempts=7)
    assert len(statements) == claims.TRIES


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [OperationalError(2006, "Server has gone away"), OperationalError()])
def test_other_errors_are_no_reason_to_begin_again(enqueue, statements, error):
    [delivery] = claimed(enqueue, 1)
    statements.clear()
    statements.errors = [error]
    with pytest.raises(OperationalError):
        claims.update([delivery], "default", attempts=7)
    assert len(statements) == 1


@pytest.mark.django_db(transaction=True)
def test_a_transaction_of_the_caller_has_ended_with_it(enqueue, statements):
    [delivery] = claimed(enqueue, 1)
    statements.clear()
    statements.errors = [DEADLOCK]
    with pytest.raises(OperationalError), transaction.atomic():
        claims.update([delivery], "default", attempts=7)
    assert len(statements) == 1
