"""What can be done with rows of the list that were selected."""

import json

import pytest
from django.db import connection
from django.template.response import TemplateResponse
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pusherable.admin import AccessEventAdmin
from pusherable.browsing import actions
from pusherable.models import AccessEvent, Delivery
from tests.admin.pages import LIST, links, listed

pytestmark = pytest.mark.django_db

ACTIONS = {"export": ["export_csv", "export_jsonl"], "replay": ["send_again"]}


def run(client, action, *events, address="", **more):
    """What the form of the list sends."""
    keys = [getattr(event, "pk", event) for event in events]
    data = {"action": action, "index": 0, "select_across": 0, "_selected_action": keys}
    return client.post(f"{LIST}{address}", data | more)


def said(client, response):
    return [str(message) for message in client.get(response.url).context["messages"]]


@pytest.fixture
def broadcast(record):
    return [record(channels=[f"poll_{number}"], object_pk=str(number)) for number in range(3)]


# Who may do what


@pytest.mark.parametrize("permissions", [(), ("export",), ("replay",), ("export", "replay")])
def test_each_permission_has_its_actions(staff, record, permissions):
    event = record()
    client = staff("view", *permissions)
    content = client.get(LIST).content.decode()
    for permission, names in ACTIONS.items():
        for name in names:
            assert (f'<option value="{name}">' in content) == (permission in permissions)
    assert ('name="_selected_action"' in content) == bool(permissions)
    for permission in {"export", "replay"} - set(permissions):
        for name in ACTIONS[permission]:
            response = run(client, name, event)
            assert not response.streaming
    assert not AccessEvent.objects.filter(action="export").exists()


def test_without_permission_to_read_there_is_nothing_to_select(staff, record):
    assert run(staff("export", "replay"), "export_csv", record()).status_code == 403


# Exporting


@pytest.mark.parametrize("address", ["", "?username=ada", "?before_id=4", "?after_id=1", "?after=2026-11-01"])
def test_what_is_selected_is_exported_newest_first(admin_client, record, address):
    events = [record(username="ada", snapshot={"n": number}) for number in range(5)]
    response = run(admin_client, "export_jsonl", events[0], events[2], address=address)
    assert response["Content-Disposition"].endswith('.jsonl"')
    lines = [json.loads(line) for line in b"".join(response).splitlines()]
    assert [(line["id"], line["snapshot"]) for line in lines] == [
        (events[2].pk, {"n": 2}),
        (events[0].pk, {"n": 0}),
    ]


def test_as_csv(admin_client, record):
    data = b"".join(run(admin_client, "export_csv", record(object_repr="@x")))
    assert data.count(b"\r\n") == 2
    assert b'"\'@x"' in data


def test_what_is_selected_on_the_second_page(admin_client, record):
    events = [record() for _ in range(60)]
    older = links(listed(admin_client)[1])["Older"]
    shown, _response = listed(admin_client, older)
    assert shown == events[9::-1]
    response = run(admin_client, "export_jsonl", events[3], address=older)
    assert json.loads(b"".join(response))["id"] == events[3].pk


def test_it_is_recorded_with_what_was_selected(admin_client, record):
    events = [record() for _ in range(3)]
    run(admin_client, "export_csv", *events[:2])
    recorded = AccessEvent.objects.get(action="export")
    assert recorded.context["selected"] == [events[1].pk, events[0].pk]
    assert (recorded.context["format"], recorded.object_type) == ("csv", "pusherable.accessevent")


# Sending again


def test_send_again(staff, broadcast, record, woken, django_capture_on_commit_callbacks):
    Delivery.of(broadcast[0], attempts=9, failed_at=timezone.now()).save()
    client = staff("view", "replay")
    silent = record()
    with django_capture_on_commit_callbacks(execute=True):
        response = run(client, "send_again", *broadcast[:2], silent, address="?action=view")
    assert response.url == f"{LIST}?action=view"
    assert said(client, response) == ["2 events are being sent again.", "1 event is not broadcast."]
    rows = Delivery.objects.order_by("event_id").values_list("event_id", "failed_at", "attempts", "replayed")
    assert list(rows) == [(event.pk, None, 0, True) for event in broadcast[:2]]
    assert list(woken) == ["default"]


def test_in_chunks_and_with_one_wake(
    admin_client, broadcast, woken, monkeypatch, django_capture_on_commit_callbacks
):
    monkeypatch.setattr(actions, "CHUNK", 2)
    with django_capture_on_commit_callbacks(execute=True):
        run(admin_client, "send_again", *broadcast)
    assert Delivery.objects.count() == 3
    assert list(woken) == ["default"]


def test_they_are_sent(admin_client, broadcast, sent, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        run(admin_client, "send_again", broadcast[0], broadcast[2])
    assert {channel for channel, _name, _data in sent} == {"poll_0", "poll_2"}


def test_what_is_not_broadcast(admin_client, record, broadcast, woken, settings):
    response = run(admin_client, "send_again", record(), record())
    assert said(admin_client, response) == ["2 events are not broadcast."]
    del settings.PUSHERABLE_TRANSPORT
    settings.PUSHER_KEY = None
    response = run(admin_client, "send_again", broadcast[0])
    assert said(admin_client, response) == ["1 event is not broadcast."]
    assert not Delivery.objects.exists()
    assert list(woken) == []


# Only ever what was selected


@pytest.mark.parametrize("action", ["export_jsonl", "send_again"])
def test_there_is_no_all_of_them(admin_client, broadcast, woken, action):
    """Whatever is sent: a log may have millions, and `pusherable_replay` is for those."""
    response = run(admin_client, action, broadcast[1], select_across=1)
    assert set(Delivery.objects.values_list("event_id", flat=True)) <= {broadcast[1].pk}
    if action == "export_jsonl":
        assert [json.loads(line)["id"] for line in b"".join(response).splitlines()] == [broadcast[1].pk]
    response = run(admin_client, action, select_across=1)
    assert "Items must be selected" in said(admin_client, response)[-1]
    content = admin_client.get(LIST).content.decode()
    assert "Select all 3" not in content
    assert 'class="question' not in content


@pytest.mark.parametrize("key", ["x", "", "9" * 30, "-1e3", "1.5"])
@pytest.mark.parametrize("action", ["export_csv", "send_again"])
def test_what_is_no_key_is_refused(admin_client, broadcast, action, key):
    assert run(admin_client, action, key).status_code == 400
    assert not Delivery.objects.exists()


def test_what_is_gone_is_left_out(admin_client, broadcast):
    response = run(admin_client, "export_jsonl", broadcast[0], 10**9)
    assert json.loads(b"".join(response))["id"] == broadcast[0].pk


@pytest.mark.parametrize("action", ["export_jsonl", "send_again"])
def test_what_a_project_hides_stays_hidden(staff, broadcast, record, monkeypatch, action):
    boss, hidden = record(username="boss", channels=["c"]), record(remote_addr="::1", channels=["c"])

    def has_view_permission(self, request, obj=None):
        return obj is None or obj.username != "boss"

    def get_queryset(self, request):
        return AccessEvent.objects.filter(remote_addr="")

    monkeypatch.setattr(AccessEventAdmin, "has_view_permission", has_view_permission)
    monkeypatch.setattr(AccessEventAdmin, "get_queryset", get_queryset)
    response = run(staff("export", "replay"), action, broadcast[0], boss, hidden)
    if action == "export_jsonl":
        assert json.loads(b"".join(response))["id"] == broadcast[0].pk
    else:
        assert Delivery.objects.get().event_id == broadcast[0].pk


def test_nobody_deletes(admin_client, broadcast):
    run(admin_client, "delete_selected", *broadcast, post="yes")
    assert AccessEvent.objects.count() == 3
    assert "delete_selected" not in admin_client.get(LIST).content.decode()


def test_an_action_of_the_project_may_have_a_page(admin_client, record, monkeypatch):
    def flag(model_admin, request, events):
        return TemplateResponse(request, "admin/base_site.html", {"title": f"Flag {len(events)} event?"})

    monkeypatch.setattr(AccessEventAdmin, "actions", [*AccessEventAdmin.actions, flag])
    assert "Flag 1 event?" in run(admin_client, "flag", record()).text


def test_they_are_found_by_their_keys(admin_client, record):
    events = [record(username="ada") for _ in range(60)]
    with CaptureQueriesContext(connection) as captured:
        run(admin_client, "export_csv", *events[:2], address=f"?username=ada&before_id={events[30].pk}")
    reads = [query["sql"] for query in captured if "snapshot" in query["sql"] and "SELECT" in query["sql"]]
    (sql,) = (sql for sql in reads if not sql.startswith("INSERT"))
    where = sql.partition("WHERE")[2]
    assert " IN (" in where
    assert "username" not in where
    assert not any("COUNT(" in query["sql"] for query in captured)


# Markup


def test_every_checkbox_has_a_name(admin_client, record):
    event = record(username="<b>")
    content = admin_client.get(LIST).content.decode()
    boxes = [part.partition(">")[0] for part in content.split("<input")[1:] if 'type="checkbox"' in part]
    assert len(boxes) == 2
    assert all("aria-label=" in box for box in boxes)
    assert f'value="{event.pk}"' in boxes[1]
    assert "<b>" not in boxes[1]
