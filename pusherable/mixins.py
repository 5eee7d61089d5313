"""View mixins: opening a page records `view` or `update`; saving its form `updated`, and so on."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from typing import Any

from django.db import models, router, transaction
from django.forms import BaseForm, BaseModelForm
from django.http import HttpRequest, HttpResponse

from pusherable.channels import channel_name
from pusherable.models import Action
from pusherable.recording import record_access
from pusherable.snapshots import difference, saved_state, snapshot, state, stored_state


class PusherOptions:
    """What the events of a view, or of an admin, hold of their object, and where they go.

    `pusher_include_model_fields` and `pusher_exclude_model_fields` are each a field's name or an iterable of
    names, and choose what the event's snapshot holds; by default that is every editable field and the key.
    `pusher_channel_kind` is "public", "private" or "private-encrypted"; by default what the model or
    ``PUSHERABLE_CHANNELS`` says.
    """

    pusher_include_model_fields: str | Iterable[str] | None = None
    pusher_exclude_model_fields: str | Iterable[str] | None = None
    pusher_channel_kind: str | None = None

    # What has been read of the object already, where a form was posted to a view.
    _pusher_values: dict[str, Any] | None = None

    def get_pusher_snapshot(self, obj: models.Model) -> Mapping[str, Any]:
        """What the event keeps of the object and sends as ``object``; JSON, without secret fields."""
        return snapshot(
            obj,
            self.pusher_include_model_fields,
            self.pusher_exclude_model_fields,
            values=self._pusher_values,
        )

    def get_pusher_channels(self, obj: models.Model) -> str | Sequence[str]:
        """The channel or channels that the object's events go to; an empty list means no broadcast."""
        return [channel_name(obj, self.pusher_channel_kind)]


class PusherMixin(PusherOptions):
    """Records the action `pusher_event_name` whenever a class-based view renders a page for its object.

    Stands before the view in the list of bases.
    """

    pusher_event_name: str = Action.VIEW

    request: HttpRequest
    object: Any

    # The object before its form wrote to it.
    _pusher_unchanged: models.Model | None = None
    # Whether the form was shown again in place of being saved.
    _pusher_refused = False

    def record_pusher_event(
        self, action: str, obj: models.Model, changes: Mapping[str, Any] | None = None
    ) -> None:
        """Record one event of this view."""
        record_access(
            obj,
            action,
            request=self.request,
            changes=changes,
            snapshot=self.get_pusher_snapshot(obj),
            channels=self.get_pusher_channels(obj),
        )

    def form_invalid(self, form: BaseForm) -> HttpResponse:
        # A view below may refuse in its form_valid: then nothing was saved, and nothing says so.
        self._pusher_refused = True
        response: HttpResponse = super().form_invalid(form)  # type: ignore[misc]
        return response

    def render_to_response(self, context: dict[str, Any], **response_kwargs: Any) -> HttpResponse:
        if self.object is not None:
            self.record_pusher_event(self.pusher_event_name, self._pusher_unchanged or self.object)
        else:  # the page of a create form
            record_access(type(context["form"].instance), self.pusher_event_name, request=self.request)
        response: HttpResponse = super().render_to_response(context, **response_kwargs)  # type: ignore[misc]
        return response


class PusherDetailMixin(PusherMixin):
    """For a DetailView: `view`."""


class PusherUpdateMixin(PusherMixin):
    """For an UpdateView: `update` when the form is shown; `updated`, with changes, when it is saved."""

    pusher_event_name = Action.UPDATE

    _pusher_before: dict[str, Any] | None = None

    def get_form(self, form_class: "type[BaseModelForm[Any]] | None" = None) -> "BaseModelForm[Any]":
        # Validating the form already writes to the object, so this is the last moment to read it. What an
        # invalid form has left there was never saved, and is no part of the page's event.
        if self._pusher_before is None and self.request.method in {"POST", "PUT"}:
            self._pusher_unchanged = copy(self.object)
            self._pusher_values = self._pusher_before = state(self.object)
        form: BaseModelForm[Any] = super().get_form(form_class)  # type: ignore[misc]
        return form

    def form_valid(self, form: "BaseModelForm[Any]") -> HttpResponse:
        with _transaction(form.instance):
            # A view with a get_form of its own may not have called ours.
            before = self._pusher_before or stored_state(form.instance)
            response: HttpResponse = super().form_valid(form)  # type: ignore[misc]
            if not self._pusher_refused:
                self._pusher_unchanged, self._pusher_values = None, saved_state(self.object)
                changes = difference(self.object._meta.model, before, self._pusher_values)
                self.record_pusher_event(Action.UPDATED, self.object, changes)
        return response


class PusherCreateMixin(PusherMixin):
    """For a CreateView: `create` when the form is shown; `created` when it is saved."""

    pusher_event_name = Action.CREATE

    def form_valid(self, form: "BaseModelForm[Any]") -> HttpResponse:
        with _transaction(form.instance):
            response: HttpResponse = super().form_valid(form)  # type: ignore[misc]
            if not self._pusher_refused:
                self._pusher_values = saved_state(self.object)
                self.record_pusher_event(Action.CREATED, self.object)
        return response


class PusherDeleteMixin(PusherMixin):
    """For a DeleteView: `delete` when it asks for confirmation; `deleted` when the object is gone."""

    pusher_event_name = Action.DELETE

    def form_valid(self, form: BaseForm) -> HttpResponse:
        obj = self.object
        with _transaction(obj):
            # Deleting takes the key from the instance, and the many-to-many rows from the database.
            gone = copy(obj)
            self._pusher_values = state(obj)
            response: HttpResponse = super().form_valid(form)  # type: ignore[misc]
            if not self._pusher_refused:
                self.record_pusher_event(Action.DELETED, gone)
        return response

    def delete(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # noqa: ARG002
        """Answer the HTTP method DELETE, which in Django's own view would bypass `form_valid`."""
        self.object = self.get_object()  # type: ignore[attr-defined]
        return self.form_valid(self.get_form())  # type: ignore[attr-defined]


def _transaction(obj: models.Model) -> AbstractContextManager[None]:
    """The change and its event are saved together or not at all."""
    return transaction.atomic(using=router.db_for_write(obj._meta.model, instance=obj))
