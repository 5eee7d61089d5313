"""What everybody on a page is told about the others."""

import datetime as dt
import json

import pytest
from django.contrib.auth.models import AnonymousUser, User
from hypothesis import example, given
from hypothesis import strategies as st

from pusherable.presence import channel_data, display_name, member_id, parse_member, user_info


def user(**fields):
    return User(**{"pk": 5, "username": "ada"} | fields)


class Token:
    """A user who stands in a signed token, and is no row."""

    is_authenticated = True

    def __init__(self, key):
        self.pk = key

    def __str__(self):
        return "robot"


@pytest.mark.parametrize(
    ("who", "name"),
    [
        (user(first_name="Ada", last_name="Lovelace"), "Ada Lovelace"),
        (user(), "ada"),
        (user(first_name=" "), "ada"),
        (user(username="ada@example.com"), "ada"),
        (user(first_name="ada@example.com", last_name="(guest)"), "ada (guest)"),
        (user(username="@ada"), "@ada"),
        (user(username=""), "5"),
        (user(username="a\x00\ud800b"), "a\ufffd?b"),
        (user(first_name="x" * 150, last_name="y" * 150), "x" * 100),
        (Token("7"), "robot"),
    ],
)
def test_the_name_is_no_address(who, name):
    assert display_name(who) == name


def test_what_a_member_is():
    assert json.loads(channel_data(user(), editing=False)) == {"user_id": "5", "user_info": {"name": "ada"}}
    assert json.loads(channel_data(user(), editing=True))["user_id"] == "5!edit"


@pytest.mark.parametrize("editing", [False, True])
@pytest.mark.parametrize("nobody", [None, AnonymousUser(), Token("")])
def test_nobody_is_no_member(nobody, editing):
    assert channel_data(nobody, editing=editing) is None


def test_a_key_that_pusher_does_not_take():
    assert channel_data(Token("x" * 128), editing=False)
    assert channel_data(Token("x" * 129), editing=False) is None
    assert channel_data(Token("x" * 124), editing=True) is None


@given(key=st.text(min_size=1, max_size=60).filter(lambda text: "\0" not in text), editing=st.booleans())
@example(key="5!edit", editing=False)
@example(key="5%21edit", editing=False)
def test_the_member_tells_the_user(key, editing):
    key = key.encode(errors="replace").decode()
    assert parse_member(member_id(Token(key), editing=editing)) == (key, editing)


def avatar(user):
    return {"avatar": f"/people/{user.pk}.png", "since": dt.date(2026, 11, 23)}


@pytest.mark.parametrize("function", [avatar, f"{__name__}.avatar"], ids=["function", "path"])
def test_a_project_adds_to_it(settings, function):
    settings.PUSHERABLE_PRESENCE_INFO = function
    info = json.loads(channel_data(user(), editing=False))["user_info"]
    assert info == {"name": "ada", "avatar": "/people/5.png", "since": "2026-11-23"}


def test_a_project_may_choose_the_name(settings):
    settings.PUSHERABLE_PRESENCE_INFO = lambda user: {"name": f"Dr {user.username}"}
    assert user_info(user()) == {"name": "Dr ada"}


@pytest.mark.parametrize(("size", "fits"), [(1024, True), (1025, False)])
def test_more_than_pusher_takes_is_left_out(settings, caplog, size, fits):
    empty = len('{"name":"ada","about":""}')
    settings.PUSHERABLE_PRESENCE_INFO = lambda _user: {"about": "é" + "x" * (size - empty - 2)}
    assert ("about" in user_info(user())) == fits
    assert user_info(user())["name"] == "ada"
    assert ("PUSHERABLE_PRESENCE_INFO gives 1025 bytes for user '5'" in caplog.text) != fits
