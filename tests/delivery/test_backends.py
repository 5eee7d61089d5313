"""Choosing a class by a setting."""

import threading

import pytest
from django.core.exceptions import ImproperlyConfigured

from pusherable.delivery.backends import Chosen
from pusherable.delivery.dispatchers import InlineDispatcher, ThreadDispatcher, dispatcher
from pusherable.delivery.transports import ConsoleTransport, LocmemTransport, PusherTransport, transport

TRANSPORTS = "pusherable.delivery.transports."


class Counted:
    """Counts how often it is made and closed."""

    made = 0
    closed = 0

    def __init__(self):
        type(self).made += 1

    def wake(self, using):
        pass

    def close(self):
        type(self).closed += 1


@pytest.fixture
def counted():
    Counted.made = Counted.closed = 0
    return {"BACKEND": f"{__name__}.Counted"}


def test_the_defaults(settings):
    del settings.PUSHERABLE_TRANSPORT, settings.PUSHERABLE_DISPATCHER
    assert isinstance(transport.get(), PusherTransport)
    assert isinstance(dispatcher.get(), ThreadDispatcher)


def test_the_setting_decides_whenever_it_is_used(settings):
    assert isinstance(transport.get(), LocmemTransport)
    assert isinstance(dispatcher.get(), InlineDispatcher)
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": TRANSPORTS + "ConsoleTransport"}
    assert isinstance(transport.get(), ConsoleTransport)
    assert transport.get() is transport.get()


def test_options_are_arguments_of_the_class(settings):
    settings.PUSHERABLE_DISPATCHER = {
        "BACKEND": "pusherable.delivery.dispatchers.ThreadDispatcher",
        "OPTIONS": {"linger": 0.5, "poll": 5, "flush_timeout": 1},
    }
    chosen = dispatcher.get()
    assert (chosen.linger, chosen.poll, chosen.flush_timeout) == (0.5, 5, 1)


@pytest.mark.parametrize("setting", ["PUSHERABLE_TRANSPORT", "PUSHERABLE_DISPATCHER"])
@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        (None, "write"),
        ("pusherable.delivery.transports.ConsoleTransport", "write"),
        ({}, "write"),
        ({"BACKEND": None}, "write"),
        ({"BACKEND": "ConsoleTransport"}, "ConsoleTransport"),
        ({"BACKEND": "no.such.module.Class"}, "No module named 'no'"),
        ({"BACKEND": TRANSPORTS + "NoSuchTransport"}, "NoSuchTransport"),
        ({"BACKEND": TRANSPORTS + "ConsoleTransport", "OPTIONS": {"colour": "red"}}, "colour"),
        ({"BACKEND": TRANSPORTS + "ConsoleTransport", "OPTIONS": None}, "NoneType"),
        ({"BACKEND": TRANSPORTS + "BATCH"}, "BATCH"),
        ({"BACKEND": "pusherable.delivery.dispatchers.InlineDispatcher"}, "this has no method send()"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_wrong(settings, setting, wanted, complaint):
    setattr(settings, setting, wanted)
    with pytest.raises(ImproperlyConfigured) as caught:
        Chosen(setting, "send").get()
    assert str(caught.value).startswith(f"{setting} = {wanted!r}: ")
    assert complaint in str(caught.value)


def test_a_wrong_setting_can_be_put_right(settings):
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "no.such.module.Class"}
    with pytest.raises(ImproperlyConfigured):
        transport.get()
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": TRANSPORTS + "ConsoleTransport"}
    assert isinstance(transport.get(), ConsoleTransport)


def test_the_one_before_is_closed(settings, counted):
    settings.PUSHERABLE_DISPATCHER = counted
    chosen = Chosen("PUSHERABLE_DISPATCHER", "wake")
    chosen.get()
    assert (Counted.made, Counted.closed) == (1, 0)
    settings.PUSHERABLE_DISPATCHER = {"BACKEND": "pusherable.delivery.dispatchers.InlineDispatcher"}
    chosen.get()
    assert (Counted.made, Counted.closed) == (1, 1)


def test_a_wrong_setting_does_not_close_the_one_before(settings, counted):
    settings.PUSHERABLE_DISPATCHER = counted
    chosen = Chosen("PUSHERABLE_DISPATCHER", "wake")
    before = chosen.get()
    settings.PUSHERABLE_DISPATCHER = {"BACKEND": "no.such.module.Class"}
    with pytest.raises(ImproperlyConfigured):
        chosen.get()
    settings.PUSHERABLE_DISPATCHER = counted
    assert chosen.get() is before
    assert Counted.closed == 0


def test_a_reset_closes_it_and_makes_another(settings, counted):
    settings.PUSHERABLE_DISPATCHER = counted
    chosen = Chosen("PUSHERABLE_DISPATCHER", "wake")
    chosen.reset()
    assert (Counted.made, Counted.closed) == (0, 0)
    before = chosen.get()
    chosen.reset()
    assert Counted.closed == 1
    assert chosen.get() is not before


def test_threads_that_ask_at_once_share_one(settings, counted, monkeypatch):
    """Two thread dispatchers would be two threads for the life of the process."""
    settings.PUSHERABLE_DISPATCHER = counted
    chosen = Chosen("PUSHERABLE_DISPATCHER", "wake")
    make, together, got = chosen.make, threading.Barrier(4), []

    def make_slowly(wanted):
        threading.Event().wait(0.05)  # long enough for the others to come in as well
        return make(wanted)

    def ask():
        together.wait()
        got.append(chosen.get())

    monkeypatch.setattr(chosen, "make", make_slowly)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counted.made == 1
    assert got == [got[0]] * 4
