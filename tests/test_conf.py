import pytest
from django.test import override_settings

from pusherable.conf import Conf, Setting, conf
from tests.listeners import MASTER_KEY

SETTINGS = {name: setting for name, setting in vars(Conf).items() if isinstance(setting, Setting)}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_read_when_it_is_used(name):
    value = object()
    with override_settings(**{name: value}):
        assert getattr(conf, name) is value
    assert getattr(conf, name) is not value


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_a_default(name, settings):
    if hasattr(settings, name):
        delattr(settings, name)
    assert getattr(conf, name) == SETTINGS[name].default


@pytest.mark.parametrize("missing", ["PUSHER_APP_ID", "PUSHER_KEY", "PUSHER_SECRET"])
@pytest.mark.parametrize("empty", [None, ""])
def test_credentials_are_all_three_or_none(missing, empty, settings):
    assert conf.has_credentials
    setattr(settings, missing, empty)
    assert not conf.has_credentials


def test_only_pusher_itself_needs_credentials(settings):
    settings.PUSHER_KEY = None
    assert conf.broadcasts  # into the list of the tests
    del settings.PUSHERABLE_TRANSPORT
    assert not conf.broadcasts
    settings.PUSHER_KEY = "test-key"
    assert conf.broadcasts


@pytest.mark.parametrize(
    ("port", "tls", "expected"), [(None, True, 443), (None, False, 80), (6001, True, 6001)]
)
def test_the_port_follows_from_the_scheme(port, tls, expected, settings):
    settings.PUSHER_PORT, settings.PUSHER_SSL = port, tls
    assert conf.port == expected


def test_pusher_js_comes_from_pusher_and_decrypts_where_there_is_a_key(settings):
    assert conf.pusher_js_url == "https://js.pusher.com/8.6.0/pusher.min.js"
    settings.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 = MASTER_KEY
    assert conf.pusher_js_url == "https://js.pusher.com/8.6.0/pusher-with-encryption.min.js"
    settings.PUSHERABLE_PUSHER_JS_URL = "/static/pusher.js"
    assert conf.pusher_js_url == "/static/pusher.js"
