import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from pusherable import origin
from tests.testapp.models import Device

PROXIES = ["10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("unix:", ""),
        ("localhost", ""),
        ("1.2.3.4.5", ""),
        ("\0", ""),
    ],
)
def test_the_address_of_the_connection(address, expected, request_from):
    assert origin.remote_addr(request_from(REMOTE_ADDR=address)) == expected


def test_a_request_without_address(request_from):
    assert origin.remote_addr(request_from()) == ""
    assert origin.remote_addr(request_from(REMOTE_ADDR=None)) == ""


def test_nobody_is_believed_by_default(request_from):
    request = request_from(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.1")
    assert origin.remote_addr(request) == "10.0.0.1"


@pytest.mark.parametrize(
    ("connection", "forwarded", "expected"),
    [
        pytest.param("198.51.100.7", "192.0.2.1", "198.51.100.7", id="not a proxy of ours"),
        pytest.param("10.0.0.1", "192.0.2.1", "192.0.2.1", id="one proxy"),
        pytest.param("10.0.0.1", "6.6.6.6, 192.0.2.1", "192.0.2.1", id="spoofed left part"),
        pytest.param("10.0.0.1", "6.6.6.6, 192.0.2.1, 10.0.0.2", "192.0.2.1", id="several proxies"),
        pytest.param("10.0.0.1", "192.0.2.1,10.0.0.2 ,2001:db8::5", "192.0.2.1", id="mixed families"),
        pytest.param("10.0.0.1", "192.0.2.1:4711", "192.0.2.1", id="with port"),
        pytest.param("10.0.0.1", "[2001:db9::1]:4711", "2001:db9::1", id="with brackets"),
        pytest.param("::ffff:10.0.0.1", "::ffff:192.0.2.1", "192.0.2.1", id="IPv4-mapped"),
        pytest.param("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3", id="all trusted: the farthest"),
        pytest.param("10.0.0.1", "192.0.2.1, garbage", "10.0.0.1", id="garbage ends the walk"),
        pytest.param("10.0.0.1", "garbage, 192.0.2.1", "192.0.2.1", id="garbage that is not reached"),
        pytest.param("10.0.0.1", "192.0.2.1,", "10.0.0.1", id="an empty part ends the walk"),
        pytest.param("10.0.0.1", "", "10.0.0.1", id="empty header"),
        pytest.param("10.0.0.1", None, "10.0.0.1", id="no header"),
        pytest.param("", "192.0.2.1", "", id="Unix socket, not trusted"),
    ],
)
def test_the_address_behind_proxies(connection, forwarded, expected, request_from, settings):
    settings.PUSHERABLE_TRUSTED_PROXIES = PROXIES
    header = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    assert origin.remote_addr(request_from(REMOTE_ADDR=connection, **header)) == expected


@pytest.mark.parametrize("connection", ["", "unix:"])
def test_a_proxy_on_a_unix_socket(connection, request_from, settings):
    settings.PUSHERABLE_TRUSTED_PROXIES = ["unix"]
    request = request_from(REMOTE_ADDR=connection, HTTP_X_FORWARDED_FOR="6.6.6.6, 192.0.2.1")
    assert origin.remote_addr(request) == "192.0.2.1"


@given(written_by_client=st.text(), hops=st.integers(0, 3))
def test_what_the_client_wrote_never_counts(written_by_client, hops):
    from django.test import RequestFactory, override_settings

    ours = ", ".join(["192.0.2.1", *[f"10.0.0.{hop}" for hop in range(hops)]])
    request = RequestFactory(REMOTE_ADDR="10.0.0.9").get("/")
    request.META["HTTP_X_FORWARDED_FOR"] = f"{written_by_client}, {ours}"
    with override_settings(PUSHERABLE_TRUSTED_PROXIES=PROXIES):
        assert origin.remote_addr(request) == "192.0.2.1"


@given(st.text(), st.text())
def test_no_header_breaks_the_request(address, forwarded):
    from django.test import RequestFactory, override_settings

    request = RequestFactory().get("/")
    request.META |= {"REMOTE_ADDR": address, "HTTP_X_FORWARDED_FOR": forwarded}
    with override_settings(PUSHERABLE_TRUSTED_PROXIES=["0.0.0.0/0", "::/0", "unix"]):
        assert len(origin.remote_addr(request)) <= 45


def test_the_request_id_of_middleware_comes_first(request_from):
    request = request_from(HTTP_X_REQUEST_ID="from-proxy")
    assert origin.request_id(request) == "from-proxy"
    request.id = 42
    assert origin.request_id(request) == "42"


def test_a_hostile_request_id(request_from):
    assert origin.request_id(request_from(HTTP_X_REQUEST_ID="\0" + "x" * 1000)) == "\ufffd" + "x" * 127
    assert origin.request_id(request_from()) == ""


def test_a_request_that_wraps_another(request_from):
    class Wrapped:  # as REST framework does it
        def __init__(self, request):
            self._request = request

        def __getattr__(self, name):
            return getattr(self._request, name)

    request = Wrapped(request_from(REMOTE_ADDR="192.0.2.1", HTTP_X_REQUEST_ID="r1", HTTP_USER_AGENT="Test"))
    assert origin.remote_addr(request) == "192.0.2.1"
    assert origin.request_id(request) == "r1"
    assert origin.context(request) == {"method": "GET", "path": "/polls/1/", "user_agent": "Test"}


class TokenUser:
    """A user who is no model: what a signed token says."""

    pk = 7
    is_authenticated = True

    def get_username(self):
        return "from-token"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        pytest.param(None, ("", ""), id="none"),
        pytest.param(AnonymousUser(), ("", ""), id="anonymous"),
        pytest.param(SimpleLazyObject(AnonymousUser), ("", ""), id="lazy anonymous"),
        pytest.param(User(pk=5, username="admin"), ("5", "admin"), id="user"),
        pytest.param(SimpleLazyObject(lambda: User(pk=5, username="admin")), ("5", "admin"), id="lazy"),
        pytest.param(Device(pk=6, serial="D-1"), ("6", "D-1"), id="without username"),
        pytest.param(TokenUser(), ("7", "from-token"), id="no model"),
        pytest.param("nightly import", ("", "nightly import"), id="a name"),
        pytest.param(User(pk=5, username="x" * 300 + "\0"), ("5", "x" * 255), id="long name"),
        pytest.param(User(username="\0"), ("", "\ufffd"), id="not saved"),
    ],
)
def test_who_did_it(user, expected):
    assert origin.actor(user) == expected


def test_without_a_request_there_is_no_context():
    assert origin.context(None) == {}


def test_a_huge_user_agent_is_cut(request_from):
    assert len(origin.context(request_from(HTTP_USER_AGENT="x" * 100_000))["user_agent"]) == 500


def site_context(request):
    return {"tenant": "acme", "path": request.path if request else "(shell)"}


@pytest.mark.parametrize("function", [site_context, "tests.test_origin.site_context"])
def test_the_project_adds_to_the_context(function, request_from, settings):
    settings.PUSHERABLE_CONTEXT = function
    assert origin.context(None) == {"tenant": "acme", "path": "(shell)"}
    assert origin.context(request_from())["tenant"] == "acme"
    assert origin.context(request_from())["method"] == "GET"


def test_a_context_function_that_returns_no_dict_is_told(settings):
    settings.PUSHERABLE_CONTEXT = lambda request: None
    with pytest.raises(ImproperlyConfigured, match="PUSHERABLE_CONTEXT returned None: it must return a dict"):
        origin.context(None)
