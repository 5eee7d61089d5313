import datetime as dt

import pytest
from django.contrib.auth.models import Permission, User

from pusherable.models import AccessEvent
from tests.admin.pages import listed

NOON = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def _site(settings):
    settings.ROOT_URLCONF = "tests.admin.urls"


@pytest.fixture
def record(db):
    """Writes an event; a minute later than the one before it."""
    times = iter(range(10**6))

    def record(**fields):
        values = {
            "action": "view",
            "object_type": "testapp.poll",
            "object_pk": "1",
            "object_repr": "What's up?",
            "occurred_at": NOON + dt.timedelta(minutes=next(times)),
        }
        return AccessEvent.objects.create(**values | fields)

    return record


@pytest.fixture
def staff(db, client):
    """Signs somebody in who has these permissions of the log, and no others; returns their client."""

    def staff(*permissions, **fields):
        user = User.objects.create(**{"username": "staff", "is_staff": True} | fields)
        codenames = [f"{name}_accessevent" for name in permissions]
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        return client

    return staff


@pytest.fixture
def browse(admin_client):
    return lambda address="", **data: listed(admin_client, address, **data)
