"""What the tests ask an open page.

`wait_for_function` needs a function: an expression would be evaluated again, which a page's policy forbids.
"""

from typing import Any

from playwright.sync_api import Page

#: Run in every page before its own scripts: keeps what a test will ask for.
RECORDER = """
    window.received = [];
    window.violations = [];
    document.addEventListener("pusherable:event", ({ detail }) => received.push(detail));
    document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
        violations.push(`${effectiveDirective} ${blockedURI}`);
        window.tellViolation(violations.at(-1));
    });
"""

SCRIPT = "<!doctype html>{% load pusherable_tags %}{% pusherable_script %}"


def subscribe(channel: str, events: str) -> str:
    """What `{% pusherable_subscribe %}` renders, for a channel without an object."""
    attributes = f'data-channel="{channel}" data-events="{events}" hidden'
    return f"<pusherable-subscribe {attributes}></pusherable-subscribe>"


def wait_until_subscribed(page: Page, *channels: str) -> None:
    page.wait_for_function(
        "names => names.every(name => window.Pusher?.instances[0]?.channel(name)?.subscribed)", arg=channels
    )


def wait_for_event(page: Page, name: str) -> list[dict[str, Any]]:
    """The details of the `pusherable:event`s of the page, up to the first of this name."""
    page.wait_for_function("name => received.some(({ event }) => event === name)", arg=name)
    received: list[dict[str, Any]] = page.evaluate("received")
    return received
