"""The page of one event: what it tells, and sending the event again."""

import json
import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from pusherable.models import AccessEvent, Delivery
from pusherable.recording import record_access
from tests.admin.pages import LIST
from tests.testapp.models import Poll

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert('x')</script>\" onload=x {{ 7 }} {% now %}"


def address(event):
    return f"{LIST}{event.pk}/change/"


@pytest.fixture
def show(admin_client):
    def show(event, query=""):
        response = admin_client.get(address(event) + query)
        assert response.status_code == 200
        return response.content.decode()

    return show


def rows(content):
    """The rows of all tables, as tuples of their text."""
    found = re.findall(r"<tr>(.*?)</tr>", content, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in found]
    return {
        row[0]: tuple(part.removeprefix("<bdi>").removesuffix("</bdi>") for part in row[1:]) for row in cells
    }


# What it tells


def test_who_what_when_and_from_where(show, poll, rf):
    request = rf.post(
        "/polls/1/?x=1", HTTP_USER_AGENT="Netscape", REMOTE_ADDR="192.0.2.7", HTTP_X_REQUEST_ID="r-1"
    )
    event = record_access(
        poll, "updated", request=request, user=User(pk=7, username="ada"), extra={"tenant": "north"}
    )
    content = show(event)
    assert "changed <bdi>What&#x27;s up?</bdi>" in content
    found = rows(content)
    assert f'href="{LIST}?user_pk=7"' in found["User"][0]
    assert found["User key"] == ("7",)
    assert "updated" in found["Action"][0]
    assert f'href="/admin/testapp/poll/{poll.pk}/change/"' in found["Object"][0]
    assert "192.0.2.7" in found["Address"][0]
    assert found["tenant"] == ("north",)
    assert any("Netscape" in value for row in found.values() for value in row)
    assert event.occurred_at.isoformat(" ", "seconds")[:19] in found["Time"][0]


def test_the_snapshot_with_the_names_of_the_fields(show, poll):
    found = rows(show(record_access(poll, "view")))
    assert found["Question"] == ("What&#x27;s up?",)
    assert found["Pub date"][0].startswith("2013-08-08")
    assert found["Owner"] == found["Date"] == ("–",)  # noqa: RUF001


@pytest.mark.parametrize("object_type", ["gone.thing", "testapp", "", "auth.group"])
def test_what_is_left_of_an_app_that_is_gone(show, record, object_type):
    event = record(
        object_type=object_type,
        snapshot={"title": "x", "list": [1, {"a": None}], "is_open": True, "pk": None},
        changes={"title": ["x", "y"]},
        channels=["thing_1"],
    )
    found = rows(show(event))
    assert found["title"] in {("x",), ("<del>x</del>", "<ins>y</ins>")}
    assert json.loads(found["list"][0].replace("&quot;", '"')) == [1, {"a": None}]
    assert found["is_open"] == ("Yes",)


def test_changes_word_by_word(show, record):
    changes = {
        "question": ["What's up here?", "What's new here?"],
        "owner": [None, 3],
        "pub_date": ["", "2026"],
    }
    found = rows(show(record(changes=changes)))
    assert found["Question"] == ("What&#x27;s <del>up </del>here?", "What&#x27;s <ins>new </ins>here?")
    assert found["Owner"] == ("–", "<ins>3</ins>")  # noqa: RUF001
    assert found["Pub date"] == ("", "<ins>2026</ins>")


@pytest.mark.parametrize("value", [[], "x", 7, [1], [1, 2, 3], {"a": 1}])
def test_columns_of_any_shape(show, record, value):
    """What a project has written by itself."""
    show(record(changes={"question": value}, snapshot={"question": value}, context={"x": value}))
    show(record(changes=value, snapshot=value or {}, context=value))


def test_hostile_values_are_text(show, record):
    event = record(
        **dict.fromkeys(["object_pk", "object_repr", "user_pk", "username", "request_id"], HOSTILE),
        action=HOSTILE[:50],
        remote_addr=HOSTILE[:45],
        context={HOSTILE: HOSTILE},
        snapshot={HOSTILE: [HOSTILE]},
        changes={HOSTILE: ["a", HOSTILE]},
        channels=[HOSTILE],
    )
    Delivery.of(event, last_error=HOSTILE).save()
    content = show(event)
    assert "<script>alert" not in content
    assert '" onload' not in content
    assert content.count("&lt;script&gt;alert") > 10


def test_nothing_is_inline(show, record):
    content = show(record())
    assert " style=" not in content
    assert "<style" not in content
    assert all("src=" in part.split(">")[0] for part in content.split("<script")[1:])


def test_an_event_without_object(show):
    content = show(record_access(Poll, "create"))
    assert "of this object" not in content
    assert "not broadcast" in content


# Its neighbours


def test_the_previous_and_the_next_event_of_the_object(show, record):
    first, _other, second, third = record(), record(object_pk="2"), record(), record()
    content = show(second)
    assert re.search(rf'href="{address(first)}" rel="prev"', content)
    assert re.search(rf'href="{address(third)}" rel="next"', content)
    assert f"{LIST}?object_type=testapp.poll&amp;object_pk=1" in content
    assert 'rel="prev"' not in show(first)
    assert 'rel="next"' not in show(third)


def test_the_way_back_leads_to_the_same_list(show, record):
    record()
    event = record()
    content = show(event, "?_changelist_filters=username%3Dada%26before_id%3D7")
    assert (
        "_changelist_filters=username%3Dada%26before_id%3D7"
        in content.split('rel="prev"')[0].rsplit("<a", 1)[1]
    )
    assert f'href="{LIST}?username=ada&amp;before_id=7"' in content


# Delivery


def test_the_message_as_it_was_sent(show, poll, sent, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        event = record_access(poll, "view")
    ((channel, _name, data),) = sent
    content = show(event)
    assert f"on the channel {channel}" in content
    (raw,) = re.findall(r"<pre[^>]*>(.*?)</pre>", content, re.DOTALL)
    assert raw.replace("&quot;", '"').replace("&#x27;", "'") == data


def test_what_became_of_the_delivery(show, record):
    event = record(channels=["poll_1"])
    Delivery.of(event, attempts=3, last_error="500: no", failed_at=timezone.now(), replayed=True).save()
    content = show(event)
    found = rows(content)
    assert "failed" in found["Status"][0]
    assert found["Attempts"] == ("3",)
    assert found["Last error"] == ("500: no",)
    assert "&quot;replayed&quot;:true" in content


@pytest.fixture
def failed(record):
    event = record(channels=["poll_1"])
    Delivery.of(event, attempts=9, failed_at=timezone.now()).save()
    return event


def test_send_again(staff, failed, sent, django_capture_on_commit_callbacks):
    client = staff("view", "replay")
    content = client.get(address(failed)).content.decode()
    (action,) = re.findall(r'<form method="post" action="([^"]*send-again[^"]*)"', content)
    with django_capture_on_commit_callbacks(execute=True):
        response = client.post(action, follow=True)
    assert "The event is being sent again." in response.content.decode()
    assert [(channel, json.loads(data)["replayed"]) for channel, _name, data in sent] == [("poll_1", True)]
    assert AccessEvent.objects.get(pk=failed.pk).status == "delivered"


def test_what_was_delivered_is_sent_again_too(staff, record, woken, django_capture_on_commit_callbacks):
    event = record(channels=["poll_1"])
    with django_capture_on_commit_callbacks(execute=True):
        staff("view", "replay").post(f"{LIST}{event.pk}/send-again/")
    assert Delivery.objects.get().replayed
    assert list(woken) == ["default"]


@pytest.mark.parametrize("permissions", [(), ("view",), ("replay",), ("view", "export")])
def test_sending_needs_its_permission(staff, failed, permissions, sent):
    client = staff(*permissions)
    assert "send-again" not in client.get(address(failed)).content.decode()
    assert client.post(f"{LIST}{failed.pk}/send-again/").status_code == 403
    assert sent == []


def test_sending_is_a_post_with_a_token(admin_user, admin_client, failed, sent):
    assert admin_client.get(f"{LIST}{failed.pk}/send-again/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert strict.post(f"{LIST}{failed.pk}/send-again/").status_code == 403
    assert sent == []


def test_what_is_not_broadcast_is_not_sent(admin_client, record, show):
    event = record()
    assert "send-again" not in show(event)
    response = admin_client.post(f"{LIST}{event.pk}/send-again/", follow=True)
    assert "This event is not broadcast." in response.content.decode()
    assert not Delivery.objects.exists()


# Which event


@pytest.mark.parametrize("key", ["404", "x", "9" * 30, "_00"])
def test_an_event_that_is_not_there(admin_client, key):
    response = admin_client.get(f"{LIST}{key}/change/")
    assert (response.status_code, response.url) == (302, "/admin/")
    assert admin_client.post(f"{LIST}{key}/send-again/").status_code == 404


def test_nothing_can_be_changed(admin_client, failed):
    before = AccessEvent.objects.values().get()
    assert admin_client.post(address(failed), {"action": "deleted"}).status_code == 403
    assert AccessEvent.objects.values().get() == before


def test_reading_needs_its_permission(staff, failed):
    assert staff().get(address(failed)).status_code == 403
    assert staff("view", username="reader").get(address(failed)).status_code == 200


def test_at_most_five_queries(admin_client, poll, failed, django_assert_max_num_queries):
    AccessEvent.objects.update(object_pk=str(poll.pk))
    with django_assert_max_num_queries(5 + 2 + 1):  # session and user; and that it was read
        admin_client.get(address(failed))
