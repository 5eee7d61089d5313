"""A log that is in a database of its own."""

import pytest

from pusherable.models import AccessEvent, Delivery
from tests.admin.pages import LIST, links

pytestmark = pytest.mark.django_db(databases=["default", "log"])


class Apart:
    """Sends the log to another database, and all else to the usual one."""

    def db_for_read(self, model, **hints):
        return "log" if model._meta.app_label == "pusherable" else None

    db_for_write = db_for_read


@pytest.fixture
def event(settings, poll):
    settings.DATABASE_ROUTERS = ["tests.admin.test_elsewhere.Apart"]
    return AccessEvent.objects.create(
        action="printed",
        object_type="testapp.poll",
        object_pk=str(poll.pk),
        object_repr="it",
        channels=["poll_1"],
    )


def test_it_can_be_read(admin_client, event, poll):
    response = admin_client.get(LIST, {"action": "printed"})
    assert list(response.context["cl"].result_list) == [event]
    assert links(response)["it"] == f"/admin/testapp/poll/{poll.pk}/change/"
    assert '<option value="printed" selected>' in response.content.decode()
    assert admin_client.get(f"{LIST}{event.pk}/change/").status_code == 200


def test_it_can_be_sent_from(admin_client, event, woken, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True, using="log"):
        admin_client.post(f"{LIST}{event.pk}/send-again/")
    assert list(Delivery.objects.using("log").values_list("event_id", flat=True)) == [event.pk]
    assert not Delivery.objects.using("default").exists()
    assert list(woken) == ["log"]


def test_it_can_be_taken_away(admin_client, event):
    for address, data in (
        (f"{LIST}export/?action=printed", {"format": "jsonl"}),
        (LIST, {"action": "export_jsonl", "index": 0, "_selected_action": [event.pk]}),
    ):
        assert b"".join(admin_client.post(address, data)).count(b"\n") == 1
    assert AccessEvent.objects.using("log").filter(action="export").count() == 2


def test_several_can_be_sent_again(admin_client, event, woken, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True, using="log"):
        admin_client.post(LIST, {"action": "send_again", "index": 0, "_selected_action": [event.pk]})
    assert list(Delivery.objects.using("log").values_list("event_id", flat=True)) == [event.pk]
    assert list(woken) == ["log"]


def test_its_charts_are_of_it(admin_client, event):
    content = admin_client.get(f"{LIST}charts/").content.decode()
    assert ": one event." in content
    assert "printed" in content
