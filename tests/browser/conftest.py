"""Chromium, the real pusher-js, a live Django server and the local Pusher server."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.contrib.auth.models import AbstractBaseUser, User
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from pusherable.delivery import dispatchers
from pusherable.delivery.backends import Chosen
from pusherable.server.testing import LocalServer
from tests.browser import urls
from tests.browser.live import RECORDER
from tests.browser.policy import Watch
from tests.server.clients import APP_ID, KEY, NODE_MODULES, SECRET

AXE = NODE_MODULES.with_name("axe-core") / "axe.min.js"
CHROMIUM = os.environ.get("PUSHERABLE_CHROMIUM", "/usr/bin/chromium")
#: Milliseconds that anything may take: less than the minute after which a sender looks without being woken.
TIMEOUT = 45_000

NewContext = Callable[[str], BrowserContext]
OpenPage = Callable[..., Page]
WritePage = Callable[..., str]


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "violates(*directives): the test's pages mean to violate these directives of their policy"
    )


@pytest.fixture(scope="package", autouse=True)
def requirements() -> None:
    missing = [
        what
        for what, there in {
            f"Chromium ({CHROMIUM}, or PUSHERABLE_CHROMIUM)": Path(CHROMIUM).exists(),
            f"axe-core ({AXE})": AXE.exists(),
            f"pusher-js ({urls.PUSHER_JS}, or PUSHERABLE_NODE_MODULES)": urls.PUSHER_JS.exists(),
            "node": shutil.which("node"),
        }.items()
        if not there
    ]
    if missing:
        refuse = pytest.fail if os.environ.get("PUSHERABLE_REQUIRE_BROWSER") else pytest.skip
        refuse(f"The browser tests need {', '.join(missing)}.")


@pytest.fixture(scope="package")
def browser(requirements: None) -> Iterator[Browser]:
    # Playwright's sync API runs an event loop in this thread, in which Django would refuse every query. Both
    # end with this package, so that other tests have neither.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
                *("--disable-background-networking", "--disable-component-update"),
            ],
        )
        expect.set_options(timeout=TIMEOUT)
        yield chromium
        chromium.close()


@pytest.fixture
def server(settings, monkeypatch) -> Iterator[LocalServer]:
    """The local Pusher server, and a project that sends to it from a thread, as in production."""
    with LocalServer(app_id=APP_ID, key=KEY, secret=SECRET) as local:
        settings.PUSHER_HOST, settings.PUSHER_PORT, settings.PUSHER_SSL = local.host, local.port, False
        settings.PUSHERABLE_TRANSPORT = {"BACKEND": "pusherable.delivery.transports.PusherTransport"}
        settings.PUSHERABLE_DISPATCHER = {
            "BACKEND": "pusherable.delivery.dispatchers.ThreadDispatcher",
            "OPTIONS": {"flush_timeout": 60},
        }
        settings.PUSHER_TIMEOUT = 30
        dispatcher = Chosen("PUSHERABLE_DISPATCHER", "wake")
        monkeypatch.setattr(dispatchers, "dispatcher", dispatcher)
        yield local
        dispatcher.get().close()


@pytest.fixture
def write_page(settings, server) -> Iterator[WritePage]:
    """Publishes a page of the test's own under the path that is returned.

    Its policy forbids inline code, so a script of the page's own is given apart, and becomes a file.
    """
    settings.ROOT_URLCONF = "tests.browser.urls"
    settings.PUSHERABLE_PUSHER_JS_URL = "/pusher.js"
    templates = Path(__file__).parent / "templates"
    settings.TEMPLATES = [engine | {"DIRS": [templates]} for engine in settings.TEMPLATES]

    def write(
        template: str, *, headers: dict[str, str] | None = None, script: str = "", **context: object
    ) -> str:
        name = f"page-{len(urls.pages)}"
        if script:
            template += f"<script src='/written/{name}.js'></script>"
        urls.pages[name] = urls.Written(template, context, headers or {}, script)
        return f"/written/{name}/"

    yield write
    urls.pages.clear()


@pytest.fixture
def new_context(browser, request) -> Iterator[NewContext]:
    """A browser context (cookies, cache), whose pages fail the test by what they do against their policy."""
    watch = Watch()
    with ExitStack() as stack:

        def make(base_url: str) -> BrowserContext:
            context = stack.enter_context(browser.new_context(base_url=base_url))
            context.set_default_timeout(TIMEOUT)
            context.add_init_script(RECORDER)
            watch.over(context)
            return context

        yield make
        violations = watch.close()
    meant = {directive for mark in request.node.iter_markers("violates") for directive in mark.args}
    assert {violation.split()[0] for violation in violations} == meant, violations


@pytest.fixture
def open_page(new_context, live_server, write_page) -> OpenPage:
    """A new page, in a browser context of its own; logged in, if a user is given."""

    def open_one(user: AbstractBaseUser | None = None) -> Page:
        context = new_context(live_server.url)
        if user is not None:
            client = Client()
            client.force_login(user)
            session = client.cookies["sessionid"].value
            context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        return context.new_page()

    return open_one


@pytest.fixture
def ada(db) -> User:
    return User.objects.create_user("ada")
