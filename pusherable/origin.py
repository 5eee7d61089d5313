"""Who a request comes from, and from where."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from pusherable.conf import conf, function_of
from pusherable.snapshots import clean, object_key

#: In ``PUSHERABLE_TRUSTED_PROXIES``: a proxy that reaches the server over a Unix socket has no address.
UNIX: Final = "unix"

Network = IPv4Network | IPv6Network


def actor(user: Any) -> tuple[str, str]:
    """``(key, name)`` of a user as text; two empty strings for an anonymous one or none."""
    if user is None or not getattr(user, "is_authenticated", True):
        return "", ""
    # Not every user is a model: one that stands in a signed token has a key and a name only.
    key = object_key(user) if hasattr(user, "_meta") else clean(str(getattr(user, "pk", "")))[:255]
    get_username = getattr(user, "get_username", None)
    return key, clean(str(get_username() if get_username else user))[:255]


def remote_addr(request: HttpRequest) -> str:
    """The client's address, or "" where the server knows none.

    It is ``REMOTE_ADDR``, unless that is a trusted proxy: then ``X-Forwarded-For`` is walked from the right,
    where our own proxies wrote, to the first address that is not one of them. What stands further left was
    sent by the client and is not believed.
    """
    address = _address(request.META.get("REMOTE_ADDR") or "")
    trusted = trusted_networks(tuple(conf.PUSHERABLE_TRUSTED_PROXIES))
    if not trusted:
        return address
    hops = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    while hops and _is_trusted(address, trusted):
        hop = _address(hops.pop())
        if not hop:
            break
        address = hop
    return address


@lru_cache(maxsize=32)
def trusted_networks(entries: tuple[str, ...]) -> tuple[Network | str, ...]:
    """The networks of ``PUSHERABLE_TRUSTED_PROXIES``; raises ValueError for an entry that is none."""
    return tuple(entry if entry == UNIX else ip_network(entry) for entry in entries)


def _is_trusted(address: str, trusted: tuple[Network | str, ...]) -> bool:
    if not address:
        return UNIX in trusted
    ip = ip_address(address)
    return any(ip in network for network in trusted if not isinstance(network, str))


def _address(text: str) -> str:
    """An address in its usual form, without port, brackets or zone; "" if the text is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ip)


def request_id(request: HttpRequest) -> str:
    """What middleware or a proxy calls this request: ``request.id``, or the X-Request-ID header."""
    name = getattr(request, "id", None) or request.META.get("HTTP_X_REQUEST_ID", "")
    return clean(str(name))[:128]


def context(request: HttpRequest | None) -> dict[str, Any]:
    """How an object was accessed: method, path and user agent, and what ``PUSHERABLE_CONTEXT`` adds."""
    facts: dict[str, Any] = {}
    if request is not None:
        facts = {
            "method": request.method,
            "path": clean(request.path)[:2000],
            "user_agent": clean(request.META.get("HTTP_USER_AGENT", ""))[:500],
        }
    added = conf.PUSHERABLE_CONTEXT
    if added is None:
        return facts
    more = function_of(added)(request)
    if not isinstance(more, Mapping):
        raise ImproperlyConfigured(f"PUSHERABLE_CONTEXT returned {more!r}: it must return a dict.")
    return facts | dict(more)
