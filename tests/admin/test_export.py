"""Taking what the list shows away as a file."""

import asyncio
import csv
import io
import json
from contextlib import closing

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client
from django.urls import path

from pusherable.admin import AccessEventAdmin, AccessEventAdminMixin
from pusherable.browsing import export
from pusherable.models import AccessEvent
from tests.admin.pages import LIST
from tests.admin.test_permissions import Excerpt

pytestmark = pytest.mark.django_db

EXPORT = f"{LIST}export/"


def ids(response):
    """Of the events in a file of JSON Lines."""
    return [json.loads(line)["id"] for line in b"".join(response).splitlines()]


def exports():
    return [event.context for event in AccessEvent.objects.filter(action="export").order_by("id")]


# The file


def test_as_csv(admin_client, record):
    events = [record(username="ada"), record(username="eve", object_repr="=1+1")]
    response = admin_client.post(EXPORT, {"format": "csv"})
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="accessevents-')
    assert response["Content-Disposition"].endswith('.csv"')
    assert "no-store" in response["Cache-Control"]
    text = b"".join(response).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [int(row["id"]) for row in rows] == [event.pk for event in events[::-1]]
    assert rows[0]["object_repr"] == "'=1+1"


def test_as_json_lines(admin_client, record):
    record(snapshot={"question": "What's up?"}, changes={"a": [1, 2]}, context={"path": "/"})
    response = admin_client.post(EXPORT, {"format": "jsonl"})
    assert response["Content-Type"] == "application/jsonl"
    assert response["Content-Disposition"].endswith('.jsonl"')
    (line,) = b"".join(response).splitlines()
    event = json.loads(line)
    assert event["snapshot"] == {"question": "What's up?"}
    assert (event["changes"], event["context"]) == ({"a": [1, 2]}, {"path": "/"})
    assert event["status"] == "not broadcast"


def test_what_is_filtered_and_more_than_a_page_of_it(admin_client, record):
    events = [record(username=["ada", "eve"][number % 2]) for number in range(120)]
    response = admin_client.post(f"{EXPORT}?username=ada&x=1", {"format": "jsonl"})
    assert ids(response) == [event.pk for event in events[-2::-2]]


def test_the_buttons_take_the_filter_along_and_not_the_page(admin_client, record):
    events = [record(username="ada") for _ in range(60)]
    second = {"username": "ada", "before_id": str(events[-2].pk)}
    content = admin_client.get(LIST, second).content.decode()
    assert 'rel="prev"' in content
    assert 'rel="next"' in content
    assert f'<form method="post" action="{EXPORT}?username=ada"' in content
    assert "csrfmiddlewaretoken" in content.split(EXPORT)[1].split("</form>")[0]
    assert 'name="format" value="csv">Export as CSV' in content
    assert 'name="format" value="jsonl">Export as JSON Lines' in content


def test_a_filter_that_is_wrong_exports_nothing_and_says_so(admin_client, record):
    record()
    address = "?status=lost&x=1&x=2"
    response = admin_client.post(EXPORT + address, {"format": "csv"}, follow=True)
    assert response.redirect_chain == [(LIST + address, 302)]
    assert "Nothing was exported" in response.content.decode()
    assert EXPORT not in response.content.decode()
    assert exports() == []


# Who may


@pytest.mark.parametrize("permissions", [(), ("view",), ("export",), ("view", "replay")])
def test_exporting_needs_its_permission_and_that_to_read(staff, record, permissions):
    record()
    client = staff(*permissions)
    assert client.post(EXPORT, {"format": "csv"}).status_code == 403
    assert EXPORT not in client.get(LIST).content.decode()
    assert exports() == []


def test_with_both_it_is_allowed(staff, record):
    event = record()
    client = staff("view", "export")
    assert EXPORT in client.get(LIST).content.decode()
    assert ids(client.post(EXPORT, {"format": "jsonl"})) == [event.pk]


def test_it_is_a_post_with_a_token(admin_user, admin_client, record):
    record()
    assert admin_client.get(EXPORT).status_code == 405
    assert admin_client.head(EXPORT).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert strict.post(EXPORT, {"format": "csv"}).status_code == 403
    assert exports() == []


@pytest.mark.parametrize("data", [{}, {"format": ""}, {"format": "xml"}])
def test_a_format_that_is_not_known(admin_client, data):
    assert admin_client.post(EXPORT, data).status_code == 400
    assert exports() == []


def test_events_that_a_project_hides_are_not_in_it(staff, record, monkeypatch):
    seen = record()
    record(username="boss")
    record(remote_addr="::1")

    def has_view_permission(self, request, obj=None):
        return obj is None or obj.username != "boss"

    def get_queryset(self, request):
        return AccessEvent.objects.filter(remote_addr="")

    monkeypatch.setattr(AccessEventAdmin, "has_view_permission", has_view_permission)
    monkeypatch.setattr(AccessEventAdmin, "get_queryset", get_queryset)
    assert ids(staff("export").post(EXPORT, {"format": "jsonl"})) == [seen.pk]


def test_the_page_of_a_proxy_has_an_address_of_its_own(admin_client, record, settings):
    event = record()
    site = admin.AdminSite(name="auditors")
    site.register(Excerpt, type("ExcerptAdmin", (AccessEventAdminMixin, admin.ModelAdmin), {}))
    settings.ROOT_URLCONF = (path("audit/", site.urls), path("admin/", admin.site.urls))
    address = "/audit/testapp/excerpt/export/"
    assert f'action="{address}' in admin_client.get("/audit/testapp/excerpt/").content.decode()
    assert ids(admin_client.post(address, {"format": "jsonl"})) == [event.pk]


# That it is recorded


def test_it_is_recorded_and_not_part_of_itself(admin_client, record):
    event = record(action="view")
    first = admin_client.post(f"{EXPORT}?action=view", {"format": "csv"})
    (context,) = exports()  # before anything is read
    assert (context["query"], context["format"]) == ({"action": "view"}, "csv")
    assert b"export" not in b"".join(first)
    assert ids(admin_client.post(EXPORT, {"format": "jsonl"})) == [event.pk + 1, event.pk]


def test_one_that_is_broken_off_is_recorded_too(admin_client, record, monkeypatch):
    record()

    def fail(records):
        raise OSError("no more")

    broken = export.Format("application/jsonl", b"", fail)
    monkeypatch.setitem(export.FORMATS, "jsonl", broken)
    with pytest.raises(OSError, match="no more"):
        b"".join(admin_client.post(EXPORT, {"format": "jsonl"}))
    assert len(exports()) == 1


# As servers run it


@pytest.fixture
def body():
    return b"format=csv"


@pytest.fixture
def headers(admin_user, monkeypatch):
    client = Client()
    client.force_login(admin_user)
    monkeypatch.setattr(export, "CHUNK", 2)
    token = "t" * 32
    return {
        "cookie": f"sessionid={client.cookies['sessionid'].value}; csrftoken={token}",
        "x-csrftoken": token,
        "content-type": "application/x-www-form-urlencoded",
        "content-length": "10",
    }


def assert_streamed(parts):
    """The header by itself, then two events at a time."""
    assert parts.pop(0).count(b"\r\n") == 1
    assert [part.count(b"\r\n") for part in parts if part] == [2, 2, 1]


@pytest.mark.django_db(transaction=True)
def test_wsgi(record, headers, body, django_assert_num_queries):
    for _ in range(5):
        record()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": EXPORT,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "CONTENT_TYPE": headers["content-type"],
        "CONTENT_LENGTH": headers["content-length"],
        "HTTP_COOKIE": headers["cookie"],
        "HTTP_X_CSRFTOKEN": headers["x-csrftoken"],
    }
    with closing(WSGIHandler()(environ, lambda status, headers: None)) as response:
        parts = iter(response)
        with django_assert_num_queries(0):
            head = next(parts)
        assert_streamed([head, *parts])


@pytest.mark.django_db(transaction=True)
def test_asgi(record, headers, body):
    """Each part leaves when it is there: none is gathered, which would be a warning, too."""
    for _ in range(5):
        record()
    scope = {
        "type": "http",
        "method": "POST",
        "path": EXPORT,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    sent = []

    async def serve():
        requests = iter([{"type": "http.request", "body": body}])

        async def receive():
            # After the request there is nothing to be told of, as long as the client stays.
            return next(requests, None) or await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        await ASGIHandler()(scope, receive, send)

    async_to_sync(serve)()
    start, *parts, end = sent
    assert start["status"] == 200
    assert end == {"type": "http.response.body"}
    assert_streamed([part["body"] for part in parts])


def test_queries(admin_client, record, django_assert_num_queries):
    for _ in range(5):
        record()
    with django_assert_num_queries(2 + 1 + 1):  # session and user; the last event, and the record of it
        response = admin_client.post(EXPORT, {"format": "csv"})
    with django_assert_num_queries(2):
        b"".join(response)
