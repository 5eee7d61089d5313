"""Whatever people name things: a page has the elements and attributes that it is to have, and text."""

import json
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pusherable.channels import MAX_NAME, channel_name, parse
from pusherable.presence import channel_data, member_id
from pusherable.recording import record_access
from tests.hostile import PIECES, in_sentence
from tests.templatetags.html import render
from tests.testapp.models import Page

pytestmark = pytest.mark.urls("tests.browser.urls")

SUBSCRIBE = "{% pusherable_subscribe 'view' 'updated' object %}"
ACTIVITY = "{% pusherable_activity limit=1 %}"

ACTIONS = ["view", "update", "create", "delete", "updated", "created", "deleted", "left", "printed"]

#: Surrogates, NUL and controls too: whatever a Python string can hold.
hostile = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(), min_size=1), min_size=1, max_size=4
).map("".join)

fuzzed = hypothesis_settings(max_examples=150, suppress_health_check=list(HealthCheck))


class Strict(HTMLParser):
    """The elements with their attributes and their own text; there is to be nothing else."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.open = [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "attributes": dict(attributes), "text": ""}
        assert len(attributes) == len(element["attributes"])
        self.elements.append(element)
        if tag != "link":
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        if self.open:
            self.open[-1]["text"] += data
        else:
            assert not data.strip()

    def refuse(self, data):
        raise AssertionError(data)

    handle_comment = handle_decl = handle_pi = unknown_decl = refuse

    def of(self, tag):
        return [element for element in self.elements if element["tag"] == tag]

    def shape(self):
        return [(element["tag"], sorted(element["attributes"])) for element in self.elements]


def saved(path):
    page = Page(path=path)
    page._state.adding = False
    return page


@given(path=hostile)
@fuzzed
def test_subscribe(path):
    page = saved(path)
    html = Strict(render(SUBSCRIBE, object=page))
    assert html.shape() == [("pusherable-subscribe", ["data-channel", "data-events", "hidden"])]
    [element] = html.elements
    assert element["text"] == ""
    assert element["attributes"]["data-events"] == "view updated"
    name = element["attributes"]["data-channel"]
    assert name == channel_name(page)
    assert len(name) <= MAX_NAME
    if ";" not in name:  # it is whole
        assert parse(name, [Page]).pk == path.encode(errors="replace").decode()


@given(path=hostile, username=hostile, action=st.sampled_from(ACTIONS))
@fuzzed
@pytest.mark.django_db
def test_activity(path, username, action):
    page, user = saved(path), User(pk=7, username=username)
    record_access(page, action, user=user)
    source = render(ACTIVITY)
    html = Strict(source)
    assert html.shape() == [
        ("section", ["aria-label", "class"]),
        ("ol", ["class"]),
        ("li", ["class", "data-action", "data-event-id", "data-events"]),
        ("span", ["class"]),
        ("bdi", []),
        ("bdi", []),
        ("time", ["class", "datetime"]),
    ]
    who, what = (element["text"] for element in html.of("bdi"))
    assert who == in_sentence(username) or (who, in_sentence(username)) == ("A visitor", "")
    assert what == in_sentence(str(page))
    assert len(source) < 6_000


@given(key=hostile, host=hostile, url=hostile, nonce=hostile, token=hostile)
@fuzzed
def test_script(key, host, url, nonce, token):
    with override_settings(PUSHER_KEY=key, PUSHER_HOST=host, PUSHERABLE_PUSHER_JS_URL=url):
        html = Strict(render("{% pusherable_script %}", csp_nonce=nonce, csrf_token=token))
    assert {element["tag"] for element in html.elements} == {"link", "script"}
    assert {element["text"] for element in html.elements} == {""}
    assert {element["attributes"]["nonce"] for element in html.elements} == {nonce}
    pusher_js, ours, *_ = html.of("script")
    assert pusher_js["attributes"] == {"src": url, "defer": None, "nonce": nonce}
    values = ours["attributes"]
    assert (values["data-key"], values["data-host"], values["data-csrf-token"]) == (key, host, token)


@given(path=hostile, user_pk=hostile, editing=st.booleans())
@fuzzed
@pytest.mark.django_db
def test_viewers(path, user_pk, editing):
    page, user = saved(path), User(pk=user_pk, is_superuser=True)
    html = Strict(
        render("{% pusherable_viewers object editing=editing %}", object=page, user=user, editing=editing)
    )
    [element] = html.elements
    assert (element["tag"], element["text"]) == ("pusherable-viewers", "")
    values = element["attributes"]
    assert set(values) - {"data-editing", "data-version", "data-events-channel", "data-changed-url"} == {
        *("class", "data-channel", "data-me", "data-texts")
    }
    assert ("data-editing" in values) is editing
    assert values["data-channel"] == channel_name(page, "presence")
    assert values["data-me"] == member_id(user, editing=False)
    assert json.loads(values["data-texts"])["editing"] == "{name} is editing"


@given(first_name=hostile, username=hostile, user_pk=hostile)
@fuzzed
def test_presence_data(first_name, username, user_pk):
    """What everybody's page is told about a member; whom Pusher would refuse is not told about."""
    data = channel_data(User(pk=user_pk, username=username, first_name=first_name), editing=True)
    if data is not None:
        member = json.loads(data.encode())  # neither a lone surrogate nor anything else that is no UTF-8
        assert len(member["user_id"]) <= 128
        assert list(member["user_info"]) == ["name"]
        assert len(member["user_info"]["name"]) <= 100
        assert "\x00" not in member["user_info"]["name"]
