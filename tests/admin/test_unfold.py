"""The event browser in the looks of django-unfold, with the package really installed."""

import pytest
from django.urls import path

from pusherable.admin import AccessEventAdminMixin
from pusherable.models import AccessEvent, Delivery
from tests.admin.pages import LIST, links, listed

# unfold's actions have the signature of Django 6.0.
pytestmark = pytest.mark.filterwarnings(r"ignore:Overriding get_action_choices\(\) without")


@pytest.fixture(autouse=True)
def _unfold(settings):
    settings.INSTALLED_APPS = ["unfold.apps.BasicAppConfig", *settings.INSTALLED_APPS]
    # Not before it is installed.
    from unfold.admin import ModelAdmin
    from unfold.sites import UnfoldAdminSite

    class AccessEventAdmin(AccessEventAdminMixin, ModelAdmin):
        pass

    site = UnfoldAdminSite()
    site.register(AccessEvent, AccessEventAdmin)
    settings.ROOT_URLCONF = (path("admin/", site.urls),)


def is_unfold(response):
    return "unfold/layouts/skeleton.html" in [template.name for template in response.templates]


def test_the_list_and_its_filter(admin_client, record):
    record(username="ada")
    theirs = record(username="eve", action="updated")
    events, response = listed(admin_client, username="eve")
    assert is_unfold(response)
    assert events == [theirs]
    page = response.content.decode()
    assert '<search class="pusherable-filter"' in page
    assert '<option value="updated">' in page
    assert "pusherable/admin.css" in page
    assert links(response)["Clear all filters"] == "?"


def test_from_page_to_page(admin_client, record):
    events = [record() for _ in range(60)]
    newest, response = listed(admin_client)
    assert newest == events[:9:-1]
    assert "50 results" not in response.text
    oldest, _response = listed(admin_client, links(response)["Older"])
    assert oldest == events[9::-1]


def test_the_charts(admin_client, record):
    record(username="ada")
    _events, response = listed(admin_client)
    assert '<pusherable-fragment data-url="charts/?"' in response.content.decode()
    for name in ("pusherable/admin.js", "pusherable/charts.css"):
        assert name in response.content.decode()
    response = admin_client.get(f"{LIST}charts/")
    assert is_unfold(response)
    assert links(response)["ada"] == f"{LIST}?username=ada"


def test_the_page_of_an_event(admin_client, record):
    before = record()
    event = record(action="updated", changes={"question": ["What's down?", "What's up?"]})
    response = admin_client.get(f"{LIST}{event.pk}/change/")
    assert is_unfold(response)
    page = response.content.decode()
    assert "<del>down</del>" in page
    assert "<ins>up</ins>" in page
    assert f"{LIST}{before.pk}/change/" in links(response).values()
    assert 'name="_save"' not in page


def test_sending_again(admin_client, record, woken, django_capture_on_commit_callbacks):
    event = record(channels=["poll_1"])
    assert "Send again" in admin_client.get(f"{LIST}{event.pk}/change/").content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(f"{LIST}{event.pk}/send-again/")
    assert Delivery.objects.get().event == event


def test_taking_events_away(admin_client, record):
    event = record(channels=["poll_1"])
    page = admin_client.get(LIST, {"username": ""}).content.decode()
    assert f'<form method="post" action="{LIST}export/' in page
    assert '<option value="export_csv">' in page
    assert f'name="_selected_action" value="{event.pk}"' in page
    data = {"action": "export_csv", "index": 0, "_selected_action": [event.pk]}
    for address, sent in ((f"{LIST}export/", {"format": "csv"}), (LIST, data)):
        assert b"".join(admin_client.post(address, sent)).count(b"\r\n") >= 2


@pytest.mark.parametrize("page", ["add/", "{event}/delete/"])
def test_nothing_can_be_changed(admin_client, record, page):
    event = record()
    assert admin_client.post(f"{LIST}{page.format(event=event.pk)}", {"post": "yes"}).status_code == 403
    assert AccessEvent.objects.get() == event
