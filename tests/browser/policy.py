"""The Content-Security-Policy of the tests' pages, and the watch over it: a violation fails the test.

A test that means its pages to do so names the directives: ``@pytest.mark.violates("script-src-elem")``.
"""

import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from playwright.sync_api import BrowserContext, Error, Response

from pusherable.conf import conf

HEADER = "Content-Security-Policy"

_reports: dict[int, list[str]] = {}
_numbers = itertools.count(1)


def strict() -> str:
    """What a careful site says: its own files, its own forms, and Pusher."""
    pusher = f"{'wss' if conf.PUSHER_SSL else 'ws'}://{conf.PUSHER_HOST}:{conf.port}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self' {pusher}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def protected(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The view under the strict policy, or the one that its answer brings along; violations are reported."""

    @wraps(view)
    def with_policy(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        policy = response.headers.get(HEADER, strict())
        response.headers[HEADER] = f"{policy}; report-uri /policy/{max(_reports, default=0)}/"
        return response

    return with_policy


@csrf_exempt
def report(request: HttpRequest, number: int) -> HttpResponse:
    """Where browsers report; a report that comes when its test is over belongs to no other test."""
    found = json.loads(request.body)["csp-report"]
    if number in _reports:
        _reports[number].append(
            f"{found['effective-directive']} {found['blocked-uri']} on {found['document-uri']}"
        )
    return HttpResponse(status=204)


class Watch:
    """Over the pages of one test, in all the browser contexts that it is told about.

    A violation is told by the page itself and by its report. A page that is being left may do only the one,
    and a site of which the policy names no address for reports knows only the other.
    """

    def __init__(self) -> None:
        self._number = next(_numbers)
        self._contexts: list[BrowserContext] = []
        self._seen = _reports[self._number] = []

    def over(self, context: BrowserContext) -> None:
        self._contexts.append(context)
        context.expose_binding("tellViolation", lambda source, text: self._seen.append(text))
        context.on("response", self._look_at)

    def close(self) -> list[str]:
        """The violations: each a directive and what it stopped, or `no-policy` and a page without one."""
        for page in (page for context in self._contexts for page in context.pages):
            with suppress(Error):  # on its way to another page, or showing a dialog
                page.wait_for_function("() => true", timeout=10_000)  # what it told before has come by then
        return _reports.pop(self._number)

    def _look_at(self, response: Response) -> None:
        is_page = response.request.is_navigation_request() and response.ok
        if is_page and HEADER.lower() not in response.headers:
            self._seen.append(f"no-policy {response.url}")
