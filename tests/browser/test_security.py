"""What an attacker may name things, and what a site may forbid its pages."""

from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from tests.browser.live import SCRIPT, subscribe, wait_for_event, wait_until_subscribed
from tests.browser.policy import HEADER, strict
from tests.hostile import in_sentence
from tests.server.clients import http_client
from tests.testapp.models import Page

HOSTILE = {
    "quotes": """" onclick='hacked=1' x='"><img src=x onerror=hacked=1>""",
    "script": "</script><script>hacked=1</script><!--",
    "element": "</pusherable-subscribe><b>bold</b>",
    "url": "javascript:hacked=1 {{ request }} ${hacked=1} &lt;i&gt;",
    "bidi": "\u202egnp.exe\u202c \u2066\u05d0\u05d1",
    "emoji": "👩\u200d🚀 Ünï©ödé 🏴\u200d☠️",
    "path": "/a//b/./c?d=e&f#g%2Fh;i",
}

LOG = """
    function pusherable_notify(event, data) {
        document.querySelector("#log").textContent = data.user + event + data.object.path;
    }
"""


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_are_text(open_page, write_page, name, db):
    page = Page.objects.create(path=name)
    reader, writer = open_page(), open_page(User.objects.create_user(name))
    tags = SCRIPT + "<p id='log'></p>{% pusherable_subscribe 'view' object %}"
    reader.goto(write_page(tags, object=page, script=LOG))
    wait_until_subscribed(reader, reader.locator("pusherable-subscribe").get_attribute("data-channel"))
    assert writer.goto(f"/pages/{quote(name, safe='')}/").ok
    [detail] = wait_for_event(reader, "view")
    assert (detail["data"]["user"], detail["data"]["object"]) == (name, {"path": name})
    assert reader.locator("#log").text_content() == f"{name}view{name}"

    # The list of those who were here names them both.
    writer.goto(write_page("<!doctype html>{% load pusherable_tags %}{% pusherable_activity %}"))
    texts = writer.locator("bdi").all_text_contents()
    assert texts == [in_sentence(name), in_sentence(str(page))]
    for open_one in (reader, writer):
        expect(open_one.locator("img, b, i, [onclick]")).to_have_count(0)
        assert open_one.evaluate("typeof hacked") == "undefined"
        assert open_one.page_errors() == []


NONCE = "bm9uY2U="


@pytest.mark.parametrize("source", ["'self'", f"'nonce-{NONCE}'"], ids=["self", "nonce"])
def test_content_security_policy(open_page, write_page, server, source):
    policy = strict().replace("script-src 'self'", f"script-src {source}")
    page = open_page()
    tags = SCRIPT + "{% pusherable_activity %}" + subscribe("poll_1", "last")
    page.goto(write_page(tags, headers={HEADER: policy}, csp_nonce=NONCE))
    wait_until_subscribed(page, "poll_1")
    http_client(server.port).trigger("poll_1", "last", {})
    wait_for_event(page, "last")
    assert page.console_messages() == []


@pytest.mark.violates("script-src-elem")
def test_the_policy_is_in_force(open_page, write_page):
    """A page without the nonce gets none of the scripts, so the tests above do show something."""
    page = open_page()
    page.goto(write_page(SCRIPT, headers={HEADER: f"script-src 'nonce-{NONCE}'"}))
    assert len(page.evaluate("violations")) == page.locator("script").count() > 1


@pytest.mark.parametrize(
    "html",
    [
        pytest.param(html, id=directive, marks=pytest.mark.violates(directive))
        for directive, html in {
            "script-src-elem": "<script>document.title = 'hacked'</script>",
            "script-src-attr": "<p onclick='hacked()'>",
            "style-src-elem": "<style>p { color: red }</style>",
            "style-src-attr": "<p style='color: red'>",
            "img-src": "<img src='https://example.com/pixel.png'>",
            "base-uri": "<base href='https://example.com/'>",
        }.items()
    ],
)
@pytest.mark.parametrize("stays", [True, False], ids=["open", "left"])
def test_a_violation_does_not_go_unseen(open_page, write_page, html, stays):
    """Neither in an open page nor in one that was left since: the mark has to be what was seen."""
    page = open_page()
    with page.expect_event("requestfinished", lambda request: "/policy/" in request.url):
        page.goto(write_page("<!doctype html>" + html))
    if not stays:
        page.goto(write_page("<!doctype html>"))


@pytest.mark.violates("no-policy")
def test_a_page_without_a_policy_does_not_go_unseen(open_page):
    assert open_page().goto("/pusher.js").ok
