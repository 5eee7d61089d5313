"""What the processes of the chaos do until they are killed; started by `tests.delivery.chaos`."""

import datetime as dt
import random
import signal
import threading
from functools import partial

from django.db import transaction

from pusherable.delivery import relay as engine
from pusherable.models import AccessEvent
from pusherable.recording import record_access
from tests.testapp.models import Poll

# Tests do not have ten minutes until what has failed a few times is tried again.
engine.RETRY_AT_MOST = 2


def relay(lease: str = "") -> None:
    """Relay until SIGTERM. With a lease of its own (seconds) it also prints a line after each settle."""
    report = None
    if lease:
        engine.lease = lambda: dt.timedelta(seconds=float(lease))
        report = partial(print, "settled", flush=True)
    one = engine.Relay("default", report=report)
    signal.signal(signal.SIGTERM, lambda *_: one.stop())
    one.run(idle=0.5)


def writer(name: str, quota: str) -> None:
    """Record accesses of the polls of that name until so many are committed, in transactions of 1 to 5.

    Every tenth transaction is rolled back. Whoever starts in place of one that was killed does the rest.
    """
    polls = list(Poll.objects.filter(question=name))
    done = AccessEvent.objects.filter(object_repr=name).count()
    chance, pause = random.Random(f"{name} {done}"), threading.Event()
    while missing := int(quota) - done:
        size, undone = min(chance.randint(1, 5), missing), chance.random() < 0.1
        with transaction.atomic():
            for _ in range(size):
                record_access(chance.choice(polls), "undone" if undone else "view")
            transaction.set_rollback(undone)
        done += 0 if undone else size
        pause.wait(0.003)
