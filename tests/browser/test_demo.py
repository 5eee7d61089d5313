"""The demo in Chromium: two people at one article, under the policy of the demo's own settings."""

import shutil
import sys

import django
import pytest
from playwright.sync_api import Page, expect

from demo import run
from pusherable.channels import FEED
from tests.browser import urls
from tests.browser.live import wait_until_subscribed
from tests.browser.policy import HEADER

HAS_POLICY = django.VERSION >= (6,)  # Django 5.2 has no middleware for it

pytestmark = [] if HAS_POLICY else pytest.mark.violates("no-policy")

CDN = "https://js.pusher.com"
PATHS = ["/", "/sign-in/", "/articles/new/", "/articles/2/", "/articles/2/edit/", "/articles/2/delete/"]
PATHS += ["/pusherable/activity/", "/pusherable/activity/newsroom.article/2/"]


@pytest.fixture(scope="module", params=["self", CDN], ids=["with npm", "without npm"])
def script_source(request) -> str:
    """Where the demo's pages take pusher-js from."""
    return request.param


@pytest.fixture(scope="module")
def site(script_source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    if script_source == "self":
        vendor = folder / "static" / "vendor"
        vendor.mkdir(parents=True)
        shutil.copy(urls.PUSHER_JS, vendor / "pusher.min.js")
    with run.demo(sys.executable, folder, run.free_port(), run.free_port()) as (env, _):
        yield env["DEMO_SITE"]


@pytest.fixture
def sign_in(site, new_context):
    def sign_in(name: str) -> Page:
        context = new_context(site)
        context.route(f"{CDN}/**", lambda route: route.fulfill(path=urls.PUSHER_JS))
        page = context.new_page()
        page.goto("/")
        page.get_by_role("button", name=name).click()
        return page

    return sign_in


def test_two_people_at_one_article(sign_in):
    mira, jonas = sign_in("Mira"), sign_in("Jonas")
    wait_until_subscribed(mira, *(f"private-article_{pk}" for pk in range(1, 11)))
    jonas.goto("/articles/1/")
    expect(mira.get_by_text("Jonas is reading “")).to_be_visible()

    mira.goto("/articles/1/")
    wait_until_subscribed(mira, "private-article_1")
    expect(mira.locator(".pusherable-viewers-person", has_text="Jonas Hale")).to_be_visible()
    jonas.get_by_role("link", name="Edit").click()
    expect(mira.get_by_text("Jonas has begun to update this article.")).to_be_visible()
    expect(mira.get_by_role("paragraph").get_by_text("Jonas Hale is editing")).to_be_visible()

    mira.get_by_role("link", name="Edit").click()
    warning = " is editing this too. Whoever saves last overwrites what the other has saved."
    expect(mira.get_by_text(f"Jonas Hale{warning}")).to_be_visible()
    expect(jonas.get_by_text(f"Mira Okafor{warning}")).to_be_visible()
    jonas.get_by_label("Headline").fill("Harbour wall: a third vote")
    jonas.get_by_role("button", name="Save").click()
    expect(mira.get_by_text("Jonas has saved this article. Changed: headline.")).to_be_visible()
    expect(mira.get_by_text("Jonas has changed this since you opened it.")).to_be_visible()


def test_what_happens_is_on_the_desk_at_once(sign_in):
    mira, jonas = sign_in("Mira"), sign_in("Jonas")
    wait_until_subscribed(mira, FEED)
    jonas.goto("/articles/3/edit/")
    newest = mira.locator(".pusherable-activity-item").first
    expect(newest).to_contain_text("Jonas began to edit")
    expect(newest.locator("time")).to_have_text("now")


def test_every_page_under_the_policy(sign_in, script_source):
    page = sign_in("Mira")
    for path in PATHS:
        response = page.goto(path)
        assert response.ok
        headers = response.headers
        assert (HEADER.lower() in headers) is HAS_POLICY
        if HAS_POLICY:
            policy = dict(line.split(" ", 1) for line in headers[HEADER.lower()].split("; "))
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == ("'self'" if script_source == "self" else f"'self' {CDN}")
            assert policy["connect-src"].startswith("'self' ws://127.0.0.1:")
            assert "unsafe" not in headers[HEADER.lower()]
        page.wait_for_load_state("load")
        assert page.evaluate("typeof Pusher") == "function"
    assert page.page_errors() == []
