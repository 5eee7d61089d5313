"""Django's admin: the events of the view mixins, and a warning before somebody's change is overwritten."""

from collections.abc import Iterable
from contextlib import nullcontext
from copy import copy
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.admin import ModelAdmin
from django.core.exceptions import ValidationError
from django.db import models, router, transaction
from django.db.models import Prefetch, prefetch_related_objects
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from pusherable.authorization import endpoint
from pusherable.conf import conf
from pusherable.mixins import PusherOptions
from pusherable.models import AccessEvent, Action
from pusherable.moments import local
from pusherable.recording import record_access
from pusherable.snapshots import (
    difference,
    is_settled,
    object_key,
    object_type,
    snapshot,
    state,
    stored_state,
)
from pusherable.versions import digest

#: What the change form sends along: the version that it shows, the event of its page, and the version that
#: may be overwritten all the same.
VERSION: Final = "_pusherable_version"
OPENED: Final = "_pusherable_opened"
OVERWRITE: Final = "_pusherable_overwrite"

# What is known of an object whose form is being saved is kept on the instance: a ModelAdmin serves all
# requests, and is given nothing else when it is asked to log what was saved.
_SHOWN: Final = "_pusherable_shown"
_BEFORE: Final = "_pusherable_before"
_INLINES: Final = "_pusherable_inlines"


class PusherableModelAdmin(PusherOptions, ModelAdmin):  # type: ignore[type-arg]
    """A ModelAdmin that records who opens, adds, changes and deletes its objects.

    By itself, or before another one in the list of bases. Whatever is entered in the admin's own history by
    `log_addition`, `log_change` and `log_deletions` is an event, so that code of the project's that calls
    them is recorded too; a class that overrides them has to call ``super()``.
    """

    def get_pusher_snapshot(self, obj: models.Model) -> Any:
        # The fields were chosen among those of the admin's model, and `obj` may be from one of its inlines.
        return super().get_pusher_snapshot(obj) if isinstance(obj, self.model) else snapshot(obj)

    def record_pusher_event(
        self, request: HttpRequest, action: str, obj: models.Model, changes: dict[str, Any] | None = None
    ) -> AccessEvent | None:
        """Record one event of this admin."""
        return record_access(
            obj,
            action,
            request=request,
            changes=changes,
            snapshot=self.get_pusher_snapshot(obj),
            channels=self.get_pusher_channels(obj),
        )

    # What was opened

    def render_change_form(  # noqa: PLR0917  # as Django has it
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj is None:
            record_access(self.model, Action.CREATE, request=request)
        else:
            context["pusherable"] = self._opened(request, obj, context["adminform"].form)
        response = super().render_change_form(
            request, context, add=add, change=change, form_url=form_url, obj=obj
        )
        if obj is not None and isinstance(response, TemplateResponse):
            # Whichever template the project, or another package, has for this page.
            context["pusherable"]["parent"] = response.resolve_template(response.template_name)
            response.template_name = "admin/pusherable/change_form.html"
        return response

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        self.record_pusher_event(request, Action.DELETE, context["object"])
        return super().render_delete_form(request, context)

    def _opened(self, request: HttpRequest, obj: models.Model, form: Any) -> dict[str, Any]:
        """Record that the change form is shown; returns what its template has to know."""
        # What a form that is shown again has left in the object was never saved.
        shown = vars(obj).get(_SHOWN) or _settled([obj])[0]
        is_editing = self.has_change_permission(request, obj)
        event = self.record_pusher_event(request, Action.UPDATE if is_editing else Action.VIEW, shown)
        hidden = {name: request.POST[name] for name in (VERSION, OPENED) if name in request.POST}
        if is_editing and request.method != "POST":
            # Of what the page shows, which may have changed since.
            shown_version = digest(shown, state(shown), form.fields)
            hidden = {VERSION: shown_version, OPENED: str(event.pk if event else "")}
        newer = getattr(form, "pusherable_newer", "")
        return {
            "object": shown,
            # Of what the form now warns of, the page's script need not warn once more.
            "form": None if newer else form,
            "is_editing": is_editing,
            "is_live": conf.has_credentials and endpoint("changed") is not None,
            "kind": self.pusher_channel_kind,
            "log_url": self._log_url(request, shown),
            "hidden": hidden,
            "newer": newer,
            "overwrite": OVERWRITE,
        }

    def _log_url(self, request: HttpRequest, obj: models.Model) -> str:
        """Where all events of the object are listed; empty for whom that is not."""
        if not request.user.has_perm("pusherable.view_accessevent"):
            return ""
        try:
            url = reverse("admin:pusherable_accessevent_changelist", current_app=self.admin_site.name)
        except NoReverseMatch:
            return ""
        return f"{url}?{urlencode({'object_type': object_type(obj), 'object_pk': object_key(obj)})}"

    # What was saved

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is None or request.method != "POST":
            return form
        # Validating the form already writes to the object, so this is the last moment to read it; in whole,
        # because what is changed within a value, such as a dictionary, is changed in a copy, too.
        if _BEFORE not in vars(obj):
            shown = _settled([obj])[0]
            vars(obj).update({_SHOWN: shown, _BEFORE: state(shown)})
        metaclass: Any = type(form)
        known = {"pusherable_sent": request.POST, "pusherable_before": vars(obj)[_BEFORE]}
        checked = metaclass(form.__name__, (_CheckedForm, form), known)
        checked.base_fields = form.base_fields  # Django has made them anew; another admin may restrict them
        return checked

    def save_form(self, request: HttpRequest, form: Any, change: Any) -> Any:
        # One of `list_editable`, since every other has been through `get_form`.
        if change and _BEFORE not in vars(form.instance):
            vars(form.instance)[_BEFORE] = stored_state(form.instance)
        return super().save_form(request, form, change=change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        vars(form.instance)[_INLINES] = [
            (formset, _stored([each.instance for each in formset.initial_forms if each.has_changed()]))
            for formset in formsets
            if not formset.model._meta.auto_created  # rows of a many-to-many field, which has changed then
        ]
        super().save_related(request, form, formsets, change=change)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self.record_pusher_event(request, Action.CREATED, _settled([obj])[0])
        self._record_inlines(request, obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._record_updated(request, vars(obj).pop(_BEFORE, None), _settled([obj])[0])
        self._record_inlines(request, obj)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in _loaded(queryset):
            self.record_pusher_event(request, Action.DELETED, obj)
        return super().log_deletions(request, queryset)

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        # Django's own action logs the deletion in one transaction, and deletes in another.
        deletes = "delete_selected" in request.POST.getlist("action")
        with transaction.atomic(using=router.db_for_write(self.model)) if deletes else nullcontext():
            return super().response_action(request, *args, **kwargs)

    def _record_updated(
        self, request: HttpRequest, before: dict[str, Any] | None, after: models.Model
    ) -> None:
        changes = difference(after._meta.model, before, state(after)) if before else None
        self.record_pusher_event(request, Action.UPDATED, after, changes)

    def _record_inlines(self, request: HttpRequest, obj: models.Model) -> None:
        for formset, before in vars(obj).pop(_INLINES, ()):
            saved = [*formset.new_objects, *(changed for changed, _fields in formset.changed_objects)]
            for after in _settled(each for each in saved if each.pk is not None):
                if after.pk in before:
                    self._record_updated(request, state(before.pop(after.pk)), after)
                else:
                    self.record_pusher_event(request, Action.CREATED, after)
            for gone in before.values():
                self.record_pusher_event(request, Action.DELETED, gone)


class _CheckedForm(ModelForm):  # type: ignore[type-arg]
    """A change form that does not overwrite what its page did not show."""

    pusherable_sent: QueryDict
    pusherable_before: dict[str, Any]
    #: The version that would be overwritten.
    pusherable_newer = ""

    def clean(self) -> Any:
        cleaned_data = super().clean()
        sent = self.pusherable_sent
        # A form that was sent twice, by a double click, changes nothing the second time.
        if sent.get(VERSION) and self.has_changed():
            stored = digest(self.instance, self.pusherable_before, self.fields)
            if stored not in {sent[VERSION], sent.get(OVERWRITE)}:
                self.pusherable_newer = stored
                warning = _warning(self.instance, sent.get(OPENED, ""))
                self.add_error(None, ValidationError(warning, code="pusherable_changed"))
        return cleaned_data


def _warning(obj: models.Model, opened: str) -> str:
    """That the object has been changed after the event `opened`; by whom and when, if an event tells."""
    events = AccessEvent.objects.of_object(obj).filter(action=Action.UPDATED).exclude(changes={})
    is_id = opened.isdecimal() and len(opened) < 20  # Python refuses numbers of thousands of digits
    event = events.filter(id__gt=int(opened)).newest().first() if is_id else None
    if event is None:
        return _("This has been changed since you opened it. Saving would overwrite that.")
    time = date_format(local(event.occurred_at), "DATETIME_FORMAT")
    text = _("{name} has changed this since you opened it ({time}). Saving would overwrite that.")
    return text.format(name=event.username or _("Somebody"), time=time)


def _loaded(objs: Iterable[models.Model]) -> list[Any]:
    """Copies of a model's objects that know their many-to-many keys: a query for each such field."""
    copies: list[Any] = [copy(obj) for obj in objs]
    for each in copies:
        each._prefetched_objects_cache = {}  # noqa: SLF001  # where Django, and `state`, look for them
    if copies:
        related = ((field.name, field.related_model) for field in copies[0]._meta.many_to_many)
        keys = (Prefetch(name, _keys(model)) for name, model in related)
        prefetch_related_objects(copies, *keys)
    return copies


def _keys(model: type[models.Model]) -> "models.QuerySet[Any]":
    return model._default_manager.select_related(None).only("pk")  # noqa: SLF001  # documented by Django


def _stored(objs: list[Any]) -> dict[Any, Any]:
    """These objects of a model as the database has them, by key: one query more than `_loaded`."""
    return {obj.pk: obj for obj in _loaded(_fresh(objs))}


def _settled(objs: Iterable[Any]) -> list[Any]:
    """`_loaded`, and from the database where only that knows all fields: see `is_settled`."""
    known = list(objs)
    fresh = {obj.pk: obj for obj in _fresh([each for each in known if not is_settled(each)])}
    return _loaded(fresh.get(each.pk, each) for each in known)


def _fresh(objs: list[Any]) -> Iterable[Any]:
    if not objs:
        return ()
    manager, using = objs[0]._meta.model._base_manager, objs[0]._state.db
    found: Iterable[Any] = manager.using(using).filter(pk__in=[obj.pk for obj in objs])
    return found
