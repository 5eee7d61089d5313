"""An admin whose ModelAdmins record what is done in it."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.urls import include, path

from pusherable.model_admin import PusherableModelAdmin
from pusherable.models import AccessEvent
from tests.testapp.models import Document, Everything, Poll, Tag

POLLS = "/admin/testapp/poll/"

site = admin.AdminSite()


class EverythingInline(admin.TabularInline):
    model = Everything
    fields = ("char", "tags")
    extra = 0


class TaggedInline(admin.TabularInline):
    model = Everything.tags.through
    extra = 0


@admin.register(Poll, site=site)
class PollAdmin(PusherableModelAdmin):
    fields = ("question", "owner")
    readonly_fields = ("pub_date",)
    inlines = [EverythingInline]
    list_display = ("id", "question")
    list_editable = ("question",)
    save_as = True

    def save_model(self, request, obj, form, change):
        if not change:
            obj.pub_date = "2026-11-23T12:00:00Z"
        super().save_model(request, obj, form, change)


@admin.register(Everything, site=site)
class EverythingAdmin(PusherableModelAdmin, admin.ModelAdmin):
    fields = ("char", "tags", "api_key")
    pusher_exclude_model_fields = ("text",)
    pusher_channel_kind = "private"


@admin.register(User, site=site)
class RecordedUserAdmin(PusherableModelAdmin, UserAdmin):
    pass


site.register([Document, Tag], PusherableModelAdmin)
site.register(AccessEvent)  # records nothing

urlpatterns = [
    path("admin/", site.urls),
    path("pusherable/", include("pusherable.urls")),
]


def form(poll=None, **data):
    """What a browser sends of the form of a poll, without inlines."""
    management = {"everything_set-TOTAL_FORMS": 0, "everything_set-INITIAL_FORMS": 0}
    return management | {"question": poll.question if poll else "New?", "owner": ""} | data


def inlines(*rows, initial=0):
    """The same of its inlines."""
    data = {"everything_set-TOTAL_FORMS": len(rows), "everything_set-INITIAL_FORMS": initial}
    return data | {
        f"everything_set-{n}-{name}": value for n, row in enumerate(rows) for name, value in row.items()
    }


def delete_selected(client, *objs, **data):
    keys = [obj.pk for obj in objs]
    url = f"/admin/{objs[0]._meta.app_label}/{objs[0]._meta.model_name}/"
    return client.post(url, {"action": "delete_selected", "_selected_action": keys, "index": 0} | data)
