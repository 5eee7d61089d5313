"""Who may read the log, and that nobody may change it."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import path

from pusherable.admin import AccessEventAdmin, AccessEventAdminMixin
from pusherable.models import AccessEvent
from tests.admin.conftest import NOON
from tests.admin.pages import LIST, listed

pytestmark = pytest.mark.django_db


class Excerpt(AccessEvent):
    class Meta:
        proxy = True
        app_label = "testapp"


@pytest.mark.parametrize("permissions", [(), ("export", "replay")])
def test_without_permission_there_is_no_log(staff, record, permissions):
    event = record()
    client = staff(*permissions)
    for address in (LIST, f"{LIST}{event.pk}/change/", f"{LIST}{event.pk}/history/"):
        assert client.get(address).status_code == 403


def test_who_is_no_staff_has_to_sign_in(client, staff, record):
    record()
    assert client.get(LIST).status_code == 302
    assert staff("view", is_staff=False).get(LIST).status_code == 302


def test_with_permission_it_can_be_read(staff, record):
    event = record()
    assert listed(staff("view"))[0] == [event]


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("address", ["add/", "{}/delete/"])
def test_nobody_adds_or_deletes(admin_client, record, method, address):
    event = record()
    assert getattr(admin_client, method)(LIST + address.format(event.pk), {"post": "yes"}).status_code == 403
    assert AccessEvent.objects.count() == 1


def test_no_action_changes_anything(admin_client, record):
    event = record()
    data = {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"}
    admin_client.post(LIST, data)
    assert AccessEvent.objects.get() == event
    content = admin_client.get(LIST).content.decode()
    assert "delete_selected" not in content
    assert f"{LIST}add/" not in content


def test_not_even_with_every_permission_there_is(rf, record):
    request = rf.get("/")
    request.user = User(is_superuser=True, is_active=True)
    model_admin, event = AccessEventAdmin(AccessEvent, admin.site), record()
    assert not model_admin.has_add_permission(request)
    assert not model_admin.has_change_permission(request, event)
    assert not model_admin.has_delete_permission(request, event)
    assert set(model_admin.get_actions(request)) == {"export_csv", "export_jsonl", "send_again"}


@pytest.mark.parametrize("name", ["export", "replay"])
def test_permissions_of_their_own(rf, staff, name):
    request = rf.get("/")
    model_admin = AccessEventAdmin(AccessEvent, admin.site)
    staff(name)
    request.user = User.objects.get()
    assert getattr(model_admin, f"has_{name}_permission")(request)
    other = {"export": "replay", "replay": "export"}[name]
    assert not getattr(model_admin, f"has_{other}_permission")(request)


def test_a_project_may_say_who_sees_which_event(staff, record, monkeypatch):
    seen, hidden = record(), record(username="boss")
    monkeypatch.setattr(
        AccessEventAdmin,
        "has_view_permission",
        lambda self, request, obj=None: obj is None or obj.username != "boss",
    )
    client = staff("replay")
    assert client.get(f"{LIST}{seen.pk}/change/").status_code == 200
    assert client.get(f"{LIST}{hidden.pk}/change/").status_code == 403
    assert client.post(f"{LIST}{hidden.pk}/send-again/").status_code == 403


def test_a_proxy_of_the_log_can_have_a_page_of_its_own(admin_client, record, settings):
    """Such as for one department; its pages lead to each other."""
    event = record(username="ada")
    site = admin.AdminSite(name="auditors")
    site.register(Excerpt, type("ExcerptAdmin", (AccessEventAdminMixin, admin.ModelAdmin), {}))
    settings.ROOT_URLCONF = (path("audit/", site.urls), path("admin/", admin.site.urls))
    address = f"/audit/testapp/excerpt/{event.pk}/change/"
    content = admin_client.get("/audit/testapp/excerpt/").content.decode()
    assert "pusherable-filter" in content
    assert f'href="{address}"' in content
    content = admin_client.get(address).content.decode()
    assert 'href="/audit/testapp/excerpt/?username=ada"' in content


def test_a_part_of_the_log_does_not_tell_of_the_rest(admin_client, record, monkeypatch):
    mine = record(username="ada")
    record(
        username="boss", action="promoted", object_type="staff.salary", occurred_at=NOON.replace(year=2020)
    )
    monkeypatch.setattr(
        AccessEventAdmin, "get_queryset", lambda self, request: AccessEvent.objects.filter(username="ada")
    )
    events, response = listed(admin_client, action="view")
    assert events == [mine]
    page = response.content.decode()
    assert not [word for word in ("boss", "promoted", "staff.salary", "2020") if word in page]
    assert '<input type="text" name="action" value="view"' in page
    assert listed(admin_client, action="promoted")[0] == []
