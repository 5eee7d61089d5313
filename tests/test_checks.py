import math

import pytest
from django.core import checks
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from pusherable.channel_checks import check_channels
from pusherable.checks import check_settings
from tests.listeners import MASTER_KEY
from tests.test_conf import SETTINGS

BACKENDS = ["PUSHERABLE_TRANSPORT", "PUSHERABLE_DISPATCHER"]


def found(**settings):
    with override_settings(**settings):
        return [
            (message.id.removeprefix("pusherable."), message)
            for message in [*check_settings(), *check_channels()]
        ]


def assert_found(id_, hint, **settings):
    ((found_id, message),) = found(**settings)
    assert found_id == id_
    assert hint in message.hint


def test_right_settings_are_silent():
    assert found() == []


def test_the_checks_are_registered(settings):
    settings.PUSHER_PORT = "6001"
    assert "pusherable.E006" in [message.id for message in checks.run_checks(tags=["compatibility"])]


@pytest.mark.parametrize(
    "right",
    [
        {"PUSHER_APP_ID": "my app", "PUSHER_HOST": "ws.example.com"},
        {"PUSHER_HOST": "[::1]", "PUSHER_PORT": 6001, "PUSHER_SSL": False, "PUSHER_TIMEOUT": 0.5},
        {"PUSHERABLE_MAX_ATTEMPTS": None},
        {"PUSHERABLE_ON_ERROR": "log"},
        {"PUSHERABLE_REDACT": {"ssn", "testapp.poll.question", "testapp.Everything.tags"}},
        {"PUSHERABLE_TRUSTED_PROXIES": ["10.0.0.0/8", "192.0.2.1", "::1", "unix"]},
        {"PUSHERABLE_CONTEXT": "tests.test_origin.site_context"},
        {"PUSHERABLE_CONTEXT": dict},
        {"PUSHERABLE_RECORD_READING": False},
        {"PUSHERABLE_RETENTION": {"view": "90d", "testapp.Poll": "P2Y", "testapp.page": None, "*": "6y"}},
        {"PUSHERABLE_CHANNELS": "private", "ROOT_URLCONF": "tests.test_authorization"},
        {
            "PUSHERABLE_CHANNELS": "private-encrypted",
            "PUSHER_ENCRYPTION_MASTER_KEY_BASE64": MASTER_KEY,
            "ROOT_URLCONF": "tests.test_authorization",
        },
        {"PUSHERABLE_PRESENCE_INFO": "tests.test_presence.avatar"},
        {"PUSHERABLE_CAN_SUBSCRIBE": "tests.test_authorization.only_its_owner"},
        {"PUSHERABLE_CHANNEL_FORMAT": "{app_label}_{model_name}_{pk}"},
        {"PUSHER_APP_ID": None, "PUSHER_KEY": None, "PUSHER_SECRET": None},  # the tests' transport needs none
    ],
    ids=str,
)
def test_other_right_settings_are_silent_too(right):
    assert found(**right) == []


@pytest.mark.parametrize(
    ("id_", "hint", "wrong"),
    [
        ("E001", "or remove all three", {"PUSHER_SECRET": None}),
        ("E001", "or remove all three", {"PUSHER_APP_ID": "", "PUSHER_KEY": ""}),
        ("E002", 'Write PUSHER_APP_ID = "4242"', {"PUSHER_APP_ID": 4242}),
        ("E003", "or set PUSHER_HOST", {"PUSHER_APP_ID": "my-app"}),
        ("E003", "or set PUSHER_HOST", {"PUSHER_APP_ID": "٤٢"}),
        ("E004", 'PUSHER_CLUSTER = "eu"', {"PUSHER_CLUSTER": None}),
        ("E005", 'PUSHER_HOST = "ws.example.com"', {"PUSHER_HOST": "https://ws.example.com"}),
        ("E005", "PUSHER_PORT", {"PUSHER_HOST": "ws.example.com:6001"}),
        ("E005", "PUSHER_HOST", {"PUSHER_HOST": 127}),
        ("E005", "PUSHER_HOST", {"PUSHER_HOST": "::1"}),
        ("E006", "PUSHER_PORT = 6001", {"PUSHER_PORT": "6001"}),
        ("E006", "from 1 to 65535", {"PUSHER_PORT": 65536}),
        ("E006", "from 1 to 65535", {"PUSHER_PORT": 0}),
        ("E006", "from 1 to 65535", {"PUSHER_PORT": True}),
        ("E007", "PUSHER_SSL = True", {"PUSHER_SSL": "false"}),
        ("E008", "PUSHER_TIMEOUT = 5", {"PUSHER_TIMEOUT": 0}),
        ("E008", "PUSHER_TIMEOUT = 5", {"PUSHER_TIMEOUT": "5"}),
        ("E008", "PUSHER_TIMEOUT = 5", {"PUSHER_TIMEOUT": True}),
        ("E008", "PUSHER_TIMEOUT = 5", {"PUSHER_TIMEOUT": math.nan}),
        ("E008", "PUSHER_TIMEOUT = 5", {"PUSHER_TIMEOUT": math.inf}),
        ("E016", "or None", {"PUSHERABLE_MAX_ATTEMPTS": 0}),
        ("E016", "above 0", {"PUSHERABLE_MAX_ATTEMPTS": "500"}),
        ("E016", "above 0", {"PUSHERABLE_MAX_ATTEMPTS": True}),
        ("E016", "above 0", {"PUSHERABLE_MAX_ATTEMPTS": 2.5}),
        ("E010", 'Write "raise"', {"PUSHERABLE_ON_ERROR": "ignore"}),
        ("E010", '"log"', {"PUSHERABLE_ON_ERROR": ["log"]}),
        ("E011", 'PUSHERABLE_REDACT = ["ssn"', {"PUSHERABLE_REDACT": "ssn"}),
        ("E011", 'PUSHERABLE_REDACT = ["ssn"', {"PUSHERABLE_REDACT": [1]}),
        ("E015", '"clinic.patient.notes"', {"PUSHERABLE_REDACT": ["testapp.poll.qestion"]}),
        ("E015", '"clinic.patient.notes"', {"PUSHERABLE_REDACT": ["testapp.pol.question"]}),
        ("E015", '"clinic.patient.notes"', {"PUSHERABLE_REDACT": ["poll.question"]}),
        ("E015", '"clinic.patient.notes"', {"PUSHERABLE_REDACT": ["a.b.c.d"]}),
        ("E015", '"clinic.patient.notes"', {"PUSHERABLE_REDACT": ["ssn."]}),
        ("E012", '["10.0.0.0/8", "unix"]', {"PUSHERABLE_TRUSTED_PROXIES": "10.0.0.0/8"}),
        ("E012", "without host bits", {"PUSHERABLE_TRUSTED_PROXIES": ["10.0.0.1/8"]}),
        ("E012", "Write networks", {"PUSHERABLE_TRUSTED_PROXIES": ["nginx"]}),
        ("E013", "a function that takes the request", {"PUSHERABLE_CONTEXT": "nowhere.to.be.found"}),
        ("E013", "a function that takes the request", {"PUSHERABLE_CONTEXT": ".context"}),
        ("E013", "a function that takes the request", {"PUSHERABLE_CONTEXT": "..context"}),
        ("E013", "a function that takes the request", {"PUSHERABLE_CONTEXT": "tests.test_conf.SETTINGS"}),
        ("E013", "a function that takes the request", {"PUSHERABLE_CONTEXT": {"tenant": 1}}),
        ("E023", "PUSHERABLE_RECORD_READING = True", {"PUSHERABLE_RECORD_READING": "yes"}),
        ("E023", "PUSHERABLE_RECORD_READING = False", {"PUSHERABLE_RECORD_READING": None}),
        ("E017", '{"view": "90d"', {"PUSHERABLE_RETENTION": "90d"}),
        ("E017", '{"view": "90d"', {"PUSHERABLE_RETENTION": None}),
        ("E017", '{"view": "90d"', {"PUSHERABLE_RETENTION": {"view": 90}}),
        ("E017", '{"view": "90d"', {"PUSHERABLE_RETENTION": {"view": "0d"}}),
        ("E017", "None means for ever", {"PUSHERABLE_RETENTION": {"*": "9999y"}}),
        ("E017", '"blog.post": "2y"', {"PUSHERABLE_RETENTION": {"testapp.poll.question": "2y"}}),
        ("E017", '"blog.post": "2y"', {"PUSHERABLE_RETENTION": {"no.model": "2y", 1: "2y"}}),
        ("E018", '"blog.post"', {"PUSHERABLE_RETENTION": {"testapp.pol": None, "*": "90d"}}),
        ("E018", "SILENCED_SYSTEM_CHECKS", {"PUSHERABLE_RETENTION": {"gone.thing": "2y"}}),
        ("E014", '"{model_name}_{pk}"', {"PUSHERABLE_CHANNEL_FORMAT": "{model_name}_{id}"}),
        ("E014", '"{model_name}_{pk}"', {"PUSHERABLE_CHANNEL_FORMAT": None}),
        ("E014", '"{model_name}_{pk}"', {"PUSHERABLE_CHANNEL_FORMAT": "encrypted-{model_name}_{pk}"}),
        ("E020", "a function that takes the user", {"PUSHERABLE_CAN_SUBSCRIBE": "no.such.function"}),
        ("E020", "a function that takes the user", {"PUSHERABLE_CAN_SUBSCRIBE": "pusherable.channels.KINDS"}),
        ("E020", "a function that takes the user", {"PUSHERABLE_CAN_SUBSCRIBE": None}),
        ("E020", "a function that takes the user", {"PUSHERABLE_CAN_SUBSCRIBE": ""}),
        ("E021", "openssl rand -base64 32", {"PUSHER_ENCRYPTION_MASTER_KEY_BASE64": "c2hvcnQ="}),
        ("E021", "openssl rand -base64 32", {"PUSHER_ENCRYPTION_MASTER_KEY_BASE64": ""}),
        ("E021", "openssl rand -base64 32", {"PUSHER_ENCRYPTION_MASTER_KEY_BASE64": b"x" * 32}),
        ("E022", '{"avatar": ', {"PUSHERABLE_PRESENCE_INFO": "no.such.function"}),
        ("E022", '{"avatar": ', {"PUSHERABLE_PRESENCE_INFO": {"avatar": "/x.png"}}),
    ],
    ids=str,
)
def test_a_wrong_setting_is_found_and_the_hint_says_what_to_write(id_, hint, wrong):
    assert_found(id_, hint, **wrong)


def test_a_wrong_rule_is_named():
    [(_, message)] = found(PUSHERABLE_RETENTION={"*": "6y", "view": "90"})
    assert message.msg.startswith("PUSHERABLE_RETENTION['view']: '90': Enter a unit too, such as 90d")
    [(_, message)] = found(PUSHERABLE_RETENTION={"testapp.poll": "2y", "testapp.pol": "2y"})
    assert "'testapp.pol'" in message.msg


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize(
    "wrong",
    [
        *(None, "tests.testapp.dispatchers.Woken", {}, {"BACKEND": None}, {"BACKEND": "nowhere.Found"}),
        *({"BACKEND": ""}, {"BACKEND": ".Woken"}, {"BACKEND": "tests.testapp.dispatchers.Missing"}),
        {"BACKEND": "tests.testapp.dispatchers.Woken", "OPTIONS": {"unknown": 1}},
        {"BACKEND": "tests.testapp.dispatchers.Woken", "OPTIONS": ["unknown"]},
        {"BACKEND": "tests.testapp.dispatchers.Woken", "OPTIONS": None},
    ],
    ids=str,
)
def test_a_backend_that_cannot_be_made(setting, wrong):
    assert_found("E009", f'{setting} = {{"BACKEND": "pusherable.delivery.', **{setting: wrong})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("linger", "0.1"), ("linger", -1), ("poll", None), ("poll", math.inf), ("flush_timeout", True)),
        *(("concurrency", 0), ("concurrency", 2.5), ("concurrency", "4")),
    ],
)
def test_options_that_a_dispatcher_cannot_take(option, value):
    dispatcher = {"BACKEND": "pusherable.delivery.dispatchers.ThreadDispatcher", "OPTIONS": {option: value}}
    [(id_, message)] = found(PUSHERABLE_DISPATCHER=dispatcher)
    assert id_ == "E009"
    assert f"{option} = {value!r}: write a" in message.msg


def test_without_credentials_nothing_is_broadcast(settings):
    del settings.PUSHERABLE_TRANSPORT
    assert_found("W001", "Set PUSHER_APP_ID", PUSHER_APP_ID=None, PUSHER_KEY=None, PUSHER_SECRET=None)


scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers()),
    st.sampled_from([object(), object, print, "{model_name}_{pk}", "raise", "..x", ".x", "a..b"]),
)
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(), st.sampled_from(["BACKEND", "OPTIONS"])), inner, max_size=3),
    ),
    max_leaves=5,
)


@pytest.mark.parametrize("name", SETTINGS)
@given(value=junk)
def test_no_value_breaks_the_checks(name, value):
    assert all(message.hint for _, message in found(**{name: value}))


@given(values=st.fixed_dictionaries(dict.fromkeys(SETTINGS, junk)))
def test_not_even_all_of_them_together(values):
    assert all(message.hint for _, message in found(**values))
