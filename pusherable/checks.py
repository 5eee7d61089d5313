"""System checks: a wrong setting is found at start-up, and the hint says what to write."""

import re
from collections.abc import Iterator
from math import inf
from typing import Any, Final

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from pusherable.conf import conf, function_of
from pusherable.delivery.dispatchers import dispatcher
from pusherable.delivery.transports import transport
from pusherable.encryption import master_key
from pusherable.models import model_of
from pusherable.origin import trusted_networks
from pusherable.retention.policy import Policy

_HOST = re.compile(r"[^/:\s]*|\[[0-9A-Fa-f:.]+\]")
NEW_KEY = (
    "Write the 44 characters that `openssl rand -base64 32` prints, and keep them as secret as PUSHER_SECRET."
)
_CREDENTIALS = ("PUSHER_APP_ID", "PUSHER_KEY", "PUSHER_SECRET")
#: Of each setting that is True or False: the id of its check, and what the one and the other mean.
_SWITCHES: Final = {
    "PUSHER_SSL": ("E007", " (https, the default)", " (http)"),
    "PUSHERABLE_RECORD_READING": ("E023", " (who reads the log is in it, the default)", ""),
    "PUSHERABLE_FEED": ("E024", " (live lists of all that happens, at a message an event)", " (the default)"),
}


@checks.register(checks.Tags.compatibility)
def check_settings(**_kwargs: Any) -> list[checks.CheckMessage]:
    return [
        *_credentials(),
        *_connection(),
        *_switches(),
        *_encryption(),
        *_backends(),
        *_delivery(),
        *_recording(),
        *_retention(),
    ]


def _credentials() -> Iterator[checks.CheckMessage]:
    missing = [name for name in _CREDENTIALS if not getattr(conf, name)]
    wrong = [name for name in _CREDENTIALS if not isinstance(getattr(conf, name), str)]
    app_id = str(conf.PUSHER_APP_ID)
    if len(missing) == len(_CREDENTIALS):
        if isinstance(conf.PUSHERABLE_TRANSPORT, dict) and not conf.broadcasts:
            yield checks.Warning(
                "There are no Pusher credentials: accesses are recorded, but not broadcast.",
                hint="Set PUSHER_APP_ID, PUSHER_KEY and PUSHER_SECRET, or add 'pusherable.W001' to "
                "SILENCED_SYSTEM_CHECKS if an access log is all you want.",
                id="pusherable.W001",
            )
    elif missing:
        yield checks.Error(
            f"The Pusher credentials are half set; missing: {', '.join(missing)}.",
            hint="Copy app_id, key and secret from the keys of your Pusher app, or remove all three.",
            id="pusherable.E001",
        )
    elif wrong:
        yield checks.Error(
            f"{wrong[0]} = {getattr(conf, wrong[0])!r} is not a string.",
            hint=f'Write {wrong[0]} = "{getattr(conf, wrong[0])}".',
            id="pusherable.E002",
        )
    elif not conf.PUSHER_HOST and not (app_id.isascii() and app_id.isdigit()):
        yield checks.Error(
            f"PUSHER_APP_ID = {app_id!r}: Pusher would refuse it, an app id there has digits only.",
            hint="Copy app_id from the keys of your Pusher app (neither the app's name nor its key), or "
            "set PUSHER_HOST if this is a self-hosted server, where it may be any text.",
            id="pusherable.E003",
        )


def _connection() -> Iterator[checks.CheckMessage]:
    host, port, timeout = conf.PUSHER_HOST, conf.PUSHER_PORT, conf.PUSHER_TIMEOUT
    if not isinstance(conf.PUSHER_CLUSTER, str):
        yield checks.Error(
            f"PUSHER_CLUSTER = {conf.PUSHER_CLUSTER!r} is not a string.",
            hint='Write the short name from the keys of your Pusher app, for example PUSHER_CLUSTER = "eu".',
            id="pusherable.E004",
        )
    if host is not None and not (isinstance(host, str) and _HOST.fullmatch(host)):
        yield checks.Error(
            f"PUSHER_HOST = {host!r} is not a host name.",
            hint='Write the name alone, for example PUSHER_HOST = "ws.example.com"; the port goes to '
            "PUSHER_PORT, and PUSHER_SSL = False means http.",
            id="pusherable.E005",
        )
    if port is not None and not (type(port) is int and 0 < port < 65536):
        yield checks.Error(
            f"PUSHER_PORT = {port!r} is not a port.",
            hint="Write a number from 1 to 65535, for example PUSHER_PORT = 6001.",
            id="pusherable.E006",
        )
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < inf:
        yield checks.Error(
            f"PUSHER_TIMEOUT = {timeout!r} is not a number of seconds above 0.",
            hint="Write for example PUSHER_TIMEOUT = 5.",
            id="pusherable.E008",
        )


def _switches() -> Iterator[checks.CheckMessage]:
    for name, (number, yes, no) in _SWITCHES.items():
        if not isinstance(value := getattr(conf, name), bool):
            yield checks.Error(
                f"{name} = {value!r} is neither True nor False.",
                hint=f"Write {name} = True{yes} or {name} = False{no}.",
                id=f"pusherable.{number}",
            )


def _encryption() -> Iterator[checks.CheckMessage]:
    if conf.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 is None:
        return
    try:
        master_key()
    except ImproperlyConfigured as error:
        yield checks.Error(str(error), hint=NEW_KEY, id="pusherable.E021")


def _backends() -> Iterator[checks.CheckMessage]:
    for chosen, example in (
        (dispatcher, "dispatchers.ThreadDispatcher"),
        (transport, "transports.PusherTransport"),
    ):
        wanted = getattr(conf, chosen.setting)
        try:
            chosen.make(wanted)
        except ImproperlyConfigured as error:
            yield checks.Error(
                str(error),
                hint=f'Write for example {chosen.setting} = {{"BACKEND": "pusherable.delivery.{example}"}}.',
                id="pusherable.E009",
            )


def _delivery() -> Iterator[checks.CheckMessage]:
    most = conf.PUSHERABLE_MAX_ATTEMPTS
    if most is not None and not (type(most) is int and most > 0):
        yield checks.Error(
            f"PUSHERABLE_MAX_ATTEMPTS = {most!r} is not a number of attempts.",
            hint="Write a whole number above 0 (500, the default, lasts for more than a day), or None.",
            id="pusherable.E016",
        )


def _recording() -> Iterator[checks.CheckMessage]:
    on_error, redact, added = conf.PUSHERABLE_ON_ERROR, conf.PUSHERABLE_REDACT, conf.PUSHERABLE_CONTEXT
    if on_error not in ("raise", "log"):
        yield checks.Error(
            f"PUSHERABLE_ON_ERROR = {on_error!r} is not known.",
            hint='Write "raise" (an access that cannot be recorded fails) or "log" (it is served anyway).',
            id="pusherable.E010",
        )
    if not _is_list_of_strings(redact):
        yield checks.Error(
            f"PUSHERABLE_REDACT = {redact!r} is not a list of field names.",
            hint='Write for example PUSHERABLE_REDACT = ["ssn", "clinic.patient.notes"].',
            id="pusherable.E011",
        )
    else:
        for entry in redact:
            if "." in entry and not _names_a_field(entry):
                yield checks.Error(
                    f"PUSHERABLE_REDACT names {entry!r}, but no installed model has this field.",
                    hint='Write app label, model and field, for example "clinic.patient.notes", or one word '
                    "for the fields of every model.",
                    id="pusherable.E015",
                )
    try:
        if not _is_list_of_strings(conf.PUSHERABLE_TRUSTED_PROXIES):
            raise ValueError("it is not a list of networks")  # noqa: TRY301
        trusted_networks(tuple(conf.PUSHERABLE_TRUSTED_PROXIES))
    except ValueError as error:
        yield checks.Error(
            f"PUSHERABLE_TRUSTED_PROXIES = {conf.PUSHERABLE_TRUSTED_PROXIES!r}: {error}.",
            hint='Write networks without host bits, for example ["10.0.0.0/8", "unix"].',
            id="pusherable.E012",
        )
    if added is not None and not is_function(added):
        yield checks.Error(
            f"PUSHERABLE_CONTEXT = {added!r} is not a function, nor the path of one.",
            hint='Write for example "myproject.audit.context", a function that takes the request (or None) '
            "and returns a dict.",
            id="pusherable.E013",
        )


def _retention() -> Iterator[checks.CheckMessage]:
    try:
        Policy.of_setting(timezone.now())
    except ValueError as error:
        yield checks.Error(
            str(error),
            hint='Write for example PUSHERABLE_RETENTION = {"view": "90d", "blog.post": "2y", "*": "6y"}; in '
            "place of a duration, None means for ever.",
            id="pusherable.E017",
        )
        return
    for key in conf.PUSHERABLE_RETENTION:
        if "." in key and model_of(key) is None:
            yield checks.Error(
                f"PUSHERABLE_RETENTION names {key!r}, but no installed model has this label.",
                hint='Write app label and model, for example "blog.post", or its events expire by another '
                "entry; or add 'pusherable.E018' to SILENCED_SYSTEM_CHECKS if the app has been removed.",
                id="pusherable.E018",
            )


def _names_a_field(entry: str) -> bool:
    label, _, name = entry.rpartition(".")
    model = model_of(label)
    return model is not None and name.lower() in {field.name.lower() for field in model._meta.get_fields()}


def is_function(value: object) -> bool:
    """Whether the value is a function, or the path of one."""
    try:
        return callable(function_of(value))
    except (ImportError, TypeError, ValueError):  # the last two for a path that begins with a dot
        return False


def _is_list_of_strings(value: object) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(item, str) for item in value)
