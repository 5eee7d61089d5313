"""What ``private-encrypted-`` channels need: only who may listen can read their messages, Pusher cannot.

Source: https://pusher.com/docs/channels/using_channels/encrypted-channels/
"""

import base64
import json
from binascii import Error
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from pusher.crypto import encrypt, generate_shared_secret

from pusherable.channels import PREFIXES
from pusherable.conf import conf

KEY_BYTES: Final = 32


def is_encrypted(channel: str) -> bool:
    return channel.startswith(PREFIXES["private-encrypted"])


def encrypted(channel: str, data: str) -> str:
    """The data of a message as it goes over the wire: a NaCl secret box, as JSON with nonce and ciphertext.

    Raises ImproperlyConfigured without a usable ``PUSHER_ENCRYPTION_MASTER_KEY_BASE64``.
    """
    return json.dumps(encrypt(channel, data, master_key()))


def shared_secret(channel: str) -> str:
    """The channel's key, in base64, as its listeners get it; raises like `encrypted`."""
    return base64.b64encode(generate_shared_secret(channel.encode(), master_key())).decode()


def master_key() -> bytes:
    """The bytes of the setting; raises ImproperlyConfigured if there are not 32 of them."""
    text = conf.PUSHER_ENCRYPTION_MASTER_KEY_BASE64
    try:
        key = base64.b64decode(text or "", validate=True) if isinstance(text, str | None) else b""
    except (Error, ValueError):  # the latter for what is not ASCII
        key = b""
    if len(key) != KEY_BYTES:
        # Neither the value nor a part of it: the message may end in a log.
        problem = "is not set" if text is None else f"is not base64 of {KEY_BYTES} bytes"
        raise ImproperlyConfigured(f"PUSHER_ENCRYPTION_MASTER_KEY_BASE64 {problem}.")
    return key
