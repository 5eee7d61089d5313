"""One at a time on a database, whoever holds the lock and however that ends."""

import signal

import pytest
from django.db import connections

from pusherable.retention.locks import Busy, exclusive
from tests.delivery.conftest import eventually

__all__ = ["eventually"]

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "log"])


def test_another_process_is_told_so(holder):
    with pytest.raises(Busy, match='works on the database "default"'), exclusive("default"):
        pytest.fail("both have it")


def test_it_is_free_once_the_holder_has_ended(holder):
    holder.communicate()
    with exclusive("default"):
        pass


def is_free():
    try:
        with exclusive("default"):
            return True
    except Busy:
        return False


def test_a_killed_process_holds_nothing(holder, eventually):
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    eventually(is_free)  # a server needs a moment to notice


def test_databases_do_not_share_it(holder):
    with exclusive("log"):
        pass


def test_an_error_frees_it():
    with pytest.raises(KeyError), exclusive("default"):
        raise KeyError
    with exclusive("default"):
        pass


def test_a_lost_connection_hides_no_error():
    with pytest.raises(KeyError), exclusive("default"):
        raise KeyError(connections["default"].close())
    with exclusive("default"):
        pass
