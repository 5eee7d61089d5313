import datetime as dt
import subprocess
import sys

import pytest

from pusherable.models import AccessEvent, Delivery
from pusherable.retention.policy import Policy
from tests.delivery.chaos import ROOT, project

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
LONG_AGO = NOW - dt.timedelta(days=100)


@pytest.fixture
def log():
    """Events from long ago, a second apart, and none of them broadcast; returns their keys."""

    def log(count=1, *, using="default", age=None, status="not broadcast", object_pk="1", **fields):
        begin = LONG_AGO if age is None else NOW - dt.timedelta(days=age)
        fields = {"action": "view", "object_type": "testapp.poll", "object_repr": "Poll"} | fields
        events = AccessEvent.objects.using(using).bulk_create(
            AccessEvent(
                **{"occurred_at": begin + dt.timedelta(seconds=number)} | fields,
                object_pk=object_pk,
                channels=[] if status == "not broadcast" else [f"poll_{object_pk}"],
            )
            for number in range(count)
        )
        if status in {"pending", "failed"}:
            failed_at = NOW if status == "failed" else None
            Delivery.objects.using(using).bulk_create(Delivery.of(one, failed_at=failed_at) for one in events)
        return [event.pk for event in events]

    return log


def all_keys(using="default"):
    return AccessEvent.objects.using(using).order_by("pk").values_list("pk", flat=True)


@pytest.fixture
def keys():
    """The keys of all events that are there, in order."""
    return lambda using="default": list(all_keys(using))


@pytest.fixture
def ninety_days():
    return Policy.older_than("90d", NOW)


HOLDER = """
import json, sys
import django
from django.conf import settings
settings.configure(**json.loads(sys.argv[1]))
django.setup()
from pusherable.retention.locks import exclusive
with exclusive("default"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder():
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, project()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()
