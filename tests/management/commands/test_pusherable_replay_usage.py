"""What the command does not take, and what it says then."""

import pytest
from django.core.management import CommandError

from pusherable.models import AccessEvent
from tests.delivery.events import log
from tests.management.commands.replays import fails, replay

pytestmark = pytest.mark.django_db


def test_never_everything_by_accident(recipient):
    log(2)
    for options in ({}, {"limit": 1}, {"rate": "1/s"}, {"database": "default"}):
        code, message = fails("--no-input", **options)
        assert code == 2
        assert "--status failed" in message
        assert "--after-id" in message
    assert recipient.calls == []


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("--status", "sent", "choose from"),
        ("--object", "poll", "Enter blog.post, or blog.post:17 for one object."),
        ("--user", "pk:", "Enter a username, or pk:42 for a key."),
        ("--since", "yesterday", "Enter a date or time, such as 2026-11-22"),
        ("--until", "2026-02-30", "Enter a date or time, such as 2026-11-22"),
        ("--after-id", "x", "Enter a whole number"),
        ("--limit", "0", "Enter a whole number above 0."),
        ("--limit", "many", "Enter a whole number above 0."),
        ("--rate", "fast", "Enter 100/s or 600/m."),
        ("--rate", "0/s", "Enter 100/s or 600/m."),
        ("--rate", "100", "Enter 100/s or 600/m."),
        ("--database", "other", "choose from"),
        ("--user", "", "Enter a value, or leave the option out."),
        ("--after-id", "", "Enter a value, or leave the option out."),
        ("--action", " ", "Enter a value, or leave the option out."),
    ],
)
def test_a_wrong_value_is_named_and_nothing_happens(recipient, option, value, hint):
    log(2, "failed")
    _code, message = fails("--no-input", "--action", "view", option, value)
    assert f"{option}" in message
    assert f"'{value}'" in message
    assert hint in message
    assert recipient.calls == []


def test_all_wrong_values_are_named_at_once():
    code, message = fails(since="now", until="then")
    assert code == 2
    assert "--since 'now': " in message
    assert "--until 'then': " in message


def test_an_unknown_option_is_an_error():
    with pytest.raises(CommandError, match="unrecognized arguments: --actions"):
        replay("--actions", "view")


def test_a_project_that_sends_nothing(settings):
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "pusherable.delivery.transports.PusherTransport"}
    settings.PUSHER_KEY = None
    log(status="failed")
    assert "PUSHER_APP_ID, PUSHER_KEY and PUSHER_SECRET" in fails(status="failed")[1]
    assert AccessEvent.objects.get().status == "failed"
