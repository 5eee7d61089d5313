"""What an attacker may name things, and what a site may forbid its pages."""

from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from tests.browser.live import SCRIPT, subscribe, wait_for_event, wait_until_subscribed
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
<p id="log"></p>
<script>
    function pusherable_notify(event, data) {
        document.querySelector("#log").textContent = data.user + event + data.object.path;
    }
</script>
"""


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_are_text(open_page, write_page, name, db):
    page = Page.objects.create(path=name)
    reader, writer = open_page(), open_page(User.objects.create_user(name))
    reader.goto(write_page(SCRIPT + LOG + "{% pusherable_subscribe 'view' object %}", object=page))
    wait_until_subscribed(reader, reader.locator("pusherable-subscribe").get_attribute("data-channel"))
    assert writer.goto(f"/pages/{quote(name, safe='')}/").ok
    [detail] = wait_for_event(reader, "view")
    assert (detail["data"]["user"], detail["data"]["object"]) == (name, {"path": name})
    assert reader.locator("#log").text_content() == f"{name}view{name}"

    # The list of those who were here names them both.
    writer.goto(write_page("<!doctype html>{% load pusherable_tags %}{% pusherable_activity %}"))
    texts = writer.locator("bdi").all_text_contents()
    assert texts == [name, str(page)]
    for open_one in (reader, writer):
        expect(open_one.locator("img, b, i, [onclick]")).to_have_count(0)
        assert open_one.evaluate("typeof hacked") == "undefined"
        assert open_one.page_errors() == []


@pytest.mark.parametrize(
    "policy",
    ["default-src 'none'; script-src 'self'; connect-src {server}", "script-src 'nonce-{nonce}'"],
    ids=["strict", "nonce"],
)
def test_content_security_policy(open_page, write_page, server, policy):
    nonce = "bm9uY2U="
    page = open_page()
    policy = policy.format(server=f"ws://{server.host}:{server.port}", nonce=nonce)
    page.goto(
        write_page(
            SCRIPT + "{% pusherable_activity %}" + subscribe("poll_1", "last"),
            headers={"Content-Security-Policy": policy},
            csp_nonce=nonce,
        )
    )
    wait_until_subscribed(page, "poll_1")
    http_client(server.port).trigger("poll_1", "last", {})
    wait_for_event(page, "last")
    assert page.evaluate("violations") == []
    assert page.console_messages() == []


def test_the_policy_is_in_force(open_page, write_page):
    """A page without the nonce gets neither script, so the tests above do show something."""
    page = open_page()
    page.goto(write_page(SCRIPT, headers={"Content-Security-Policy": "script-src 'nonce-bm9uY2U='"}))
    assert page.evaluate("violations") == ["script-src-elem"] * 2
