"""Encrypted channels: what goes over the wire, and who can read it."""

import base64
import json

import pytest
from django.core.exceptions import ImproperlyConfigured
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from pusherable.encryption import encrypted, is_encrypted, shared_secret
from tests.listeners import MASTER_KEY

CHANNEL = "private-encrypted-poll_1"


def opened(sealed, secret):
    parts = json.loads(sealed)
    box = SecretBox(base64.b64decode(secret))
    return box.decrypt(base64.b64decode(parts["ciphertext"]), base64.b64decode(parts["nonce"])).decode()


@pytest.fixture
def _key(settings):
    settings.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 = MASTER_KEY


@pytest.mark.usefixtures("_key")
def test_only_the_secret_of_the_channel_opens_it():
    sealed = encrypted(CHANNEL, '{"user": "Zoë"}')
    assert opened(sealed, shared_secret(CHANNEL)) == '{"user": "Zoë"}'
    with pytest.raises(CryptoError):
        opened(sealed, shared_secret("private-encrypted-poll_2"))


@pytest.mark.usefixtures("_key")
def test_equal_messages_do_not_look_alike():
    assert encrypted(CHANNEL, "{}") != encrypted(CHANNEL, "{}")


def test_the_prefix_tells_which_channels_are_encrypted():
    assert is_encrypted(CHANNEL)
    assert not is_encrypted("private-poll_1")


@pytest.mark.parametrize("key", [None, "", "c2hvcnQ=", MASTER_KEY[:-1], MASTER_KEY + "\n", "é" * 44, b"x", 1])
def test_a_key_that_is_none(settings, key):
    settings.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 = key
    for use in (lambda: encrypted(CHANNEL, "{}"), lambda: shared_secret(CHANNEL)):
        with pytest.raises(ImproperlyConfigured) as caught:
            use()
        assert str(caught.value).startswith("PUSHER_ENCRYPTION_MASTER_KEY_BASE64 is not ")
        assert not key or str(key) not in str(caught.value)
