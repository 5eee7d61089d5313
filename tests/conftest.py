import datetime as dt

import pytest
from django.db import connection
from django.test import RequestFactory
from django.urls import path
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from pusherable.delivery.transports import LocmemTransport
from tests.testapp.dispatchers import Woken
from tests.testapp.models import Poll

# How long an example takes depends on the machine and on what has been imported already. The fixtures that
# examples share are meant to be shared.
hypothesis_settings.register_profile(
    "pusherable",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
hypothesis_settings.load_profile("pusherable")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "vendor(*names): about these databases; on others there is no such test"
    )


def pytest_collection_modifyitems(config, items):
    others = [one for one in items if not is_about(connection.vendor, one)]
    config.hook.pytest_deselected(items=others)
    items[:] = [one for one in items if one not in others]


def is_about(vendor, item):
    """Whether a test may have another outcome on this database; what needs none is done with on SQLite."""
    uses_it = item.get_closest_marker("django_db") or {"db", "transactional_db"} & set(item.fixturenames)
    named = [vendor in mark.args for mark in item.iter_markers("vendor")]
    return all(named) and (vendor == "sqlite" or bool(uses_it))


@pytest.fixture
def sent():
    """The messages that left the process, as (channel, event name, data)."""
    LocmemTransport.sent.clear()
    yield LocmemTransport.sent
    LocmemTransport.sent.clear()


@pytest.fixture
def woken(settings):
    """The databases of which the dispatcher was told; nothing is sent."""
    settings.PUSHERABLE_DISPATCHER = {"BACKEND": "tests.testapp.dispatchers.Woken"}
    Woken.aliases.clear()
    yield Woken.aliases
    Woken.aliases.clear()


@pytest.fixture
def poll(db):
    return Poll.objects.create(
        question="What's up?", pub_date=dt.datetime(2013, 8, 8, 11, 16, 24, tzinfo=dt.UTC)
    )


@pytest.fixture
def serve(settings):
    """Answers every address with a view; the last part of the address is the key of its object."""

    def serve(view):
        view = view.as_view() if isinstance(view, type) else view
        settings.ROOT_URLCONF = (path("", view), path("<path:pk>/", view))

    return serve


@pytest.fixture
def request_from():
    """A request with the given environment, as middleware has not touched it yet."""

    def request_from(**environ):
        request = RequestFactory().get("/polls/1/")
        request.META.pop("REMOTE_ADDR")
        request.META.update(environ)
        return request

    return request_from


@pytest.fixture
def without_table(transactional_db):
    """Takes a table out of the database, so that an INSERT fails as it does in earnest."""
    missing = []

    def rename(old, new):
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def without_table(name):
        rename(name, f"{name}_missing")
        missing.append(name)

    yield without_table
    for name in missing:
        rename(f"{name}_missing", name)
