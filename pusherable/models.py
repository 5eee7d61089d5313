"""The log, the queue beside it, and the webhooks that are in the log."""

import datetime as dt
from typing import Any, Self
from zlib import crc32

from django.apps import apps
from django.db import models
from django.db.models import OuterRef, Subquery
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from pusherable.snapshots import object_key, object_type


class Action(models.TextChoices):
    """The built-in actions: present tense, a page was opened; past tense, a change was saved.

    `LEFT` is the end of a visit: the user's last page of the object was closed. `SEARCH` and `EXPORT` are
    what is done with the log itself.
    """

    VIEW = "view", _("view")
    UPDATE = "update", _("update")
    CREATE = "create", _("create")
    DELETE = "delete", _("delete")
    UPDATED = "updated", _("updated")
    CREATED = "created", _("created")
    DELETED = "deleted", _("deleted")
    LEFT = "left", _("left")
    SEARCH = "search", _("search")
    EXPORT = "export", _("export")

    @classmethod
    def name_of(cls, action: str) -> str:
        """What people call it; one of the project's own is called what it is."""
        return str(dict(cls.choices).get(action, action))


def model_of(label: str) -> type[models.Model] | None:
    """The model that an object type names; None where there is none any more, or never was."""
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        return None


class AccessEventQuerySet(models.QuerySet["AccessEvent"]):
    """Which events, newest first; every method is backed by an index."""

    def newest(self) -> Self:
        return self.order_by("-id")

    def of_object(self, obj: models.Model) -> Self:
        return self.filter(object_type=object_type(obj), object_pk=object_key(obj))

    def of_model(self, model: type[models.Model]) -> Self:
        return self.filter(object_type=object_type(model))

    def by_user(self, user: models.Model) -> Self:
        return self.filter(user_pk=object_key(user)) if user.pk is not None else self.none()


class AccessEvent(models.Model):
    """Who did what to which object, when and from where. Written once, never updated.

    It refers to no other table, so a deleted user or object, or a removed app, leaves it as it was.
    """

    id = models.BigAutoField(primary_key=True)
    occurred_at = models.DateTimeField(_("time"), default=timezone.now)
    action = models.CharField(_("action"), max_length=50)
    object_type = models.CharField(_("object type"), max_length=255)
    object_pk = models.CharField(_("object key"), max_length=255)
    object_repr = models.CharField(_("object"), max_length=255)
    user_pk = models.CharField(_("user key"), max_length=255, blank=True)
    username = models.CharField(_("user"), max_length=255, blank=True)
    remote_addr = models.CharField(_("address"), max_length=45, blank=True)
    request_id = models.CharField(_("request id"), max_length=128, blank=True)
    context = models.JSONField(_("context"), default=dict)
    snapshot = models.JSONField(_("snapshot"), default=dict)
    changes = models.JSONField(_("changes"), default=dict)
    channels = models.JSONField(_("channels"), default=list)

    objects = AccessEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("access event")
        verbose_name_plural = _("access events")
        default_permissions = ("view",)
        permissions = [
            ("export_accessevent", "Can export access events"),
            ("replay_accessevent", "Can send access events again"),
        ]
        indexes = [
            models.Index(fields=["object_type", "object_pk", "-id"], name="pusherable_object"),
            models.Index(fields=["object_type", "-id"], name="pusherable_type"),
            models.Index(fields=["user_pk", "-id"], name="pusherable_user"),
            models.Index(fields=["username", "-id"], name="pusherable_username"),
            models.Index(fields=["action", "-id"], name="pusherable_action"),
            models.Index(fields=["occurred_at", "id"], name="pusherable_time"),
        ]

    def __str__(self) -> str:
        return f"{self.username or '-'} {self.action} {self.object_type} {self.object_pk}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("An access event is written once; it cannot be changed.")
        super().save(*args, **kwargs)

    @property
    def status(self) -> str:
        """``not broadcast``, ``pending``, ``failed`` or ``delivered``; a query unless delivery is joined."""
        if not self.channels:
            return "not broadcast"
        delivery: Delivery | None = getattr(self, "delivery", None)
        if delivery is None:
            return "delivered"
        return "failed" if delivery.failed_at else "pending"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Which deliveries, by the time `now` of the database's clock (`pusherable.delivery.clock.now`)."""

    def due(self, now: dt.datetime) -> Self:
        """Those that may be sent now: neither given up, nor waiting, nor behind one in their lane that waits.

        A claim and a retry both lie in the future, so whatever is behind one is not due.
        """
        # A value, and not `Exists` of one that waits: for that, PostgreSQL reads the whole queue each time.
        lane = Delivery.objects.using(self.db).filter(lane=OuterRef("lane"), failed_at=None)
        head = Subquery(lane.order_by("event_id").values("deliver_after")[:1])
        return self.alias(head=head).filter(head__lte=now, deliver_after__lte=now, failed_at=None)


class Delivery(models.Model):
    """An event that still has to be sent.

    The row is deleted on success, so the table is as small as the backlog. The deliveries of a lane leave one
    after another; a lane is an object, or the few objects that share a number.
    """

    event = models.OneToOneField(
        AccessEvent, models.DO_NOTHING, primary_key=True, db_constraint=False, verbose_name=_("access event")
    )
    deliver_after = models.DateTimeField(_("deliver after"), default=timezone.now)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    last_error = models.TextField(_("last error"), blank=True, default="")
    failed_at = models.DateTimeField(_("failed at"), null=True, blank=True)
    claim = models.UUIDField(_("claim"), null=True, blank=True)
    replayed = models.BooleanField(_("replayed"), default=False)
    lane = models.PositiveIntegerField(_("lane"), default=0, editable=False)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        default_permissions = ()
        indexes = [models.Index(fields=["lane", "event"], name="pusherable_lane")]

    def __str__(self) -> str:
        return f"event {self.event_id}, attempts: {self.attempts}"

    @classmethod
    def of(cls, event: AccessEvent, **fields: Any) -> Self:
        """A new delivery of the event, not saved yet."""
        lane = crc32(f"{event.object_type}:{event.object_pk}".encode()) >> 1  # 31 bits, as all databases take
        return cls(event_id=event.pk, lane=lane, **fields)


class Webhook(models.Model):
    """A webhook of Pusher's that is in the log: told again, it adds nothing.

    The row is kept somewhat longer than the same webhook would be accepted.
    """

    digest = models.CharField(_("digest"), max_length=64, primary_key=True)
    received_at = models.DateTimeField(_("received at"), default=timezone.now)

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        default_permissions = ()
        indexes = [models.Index(fields=["received_at"], name="pusherable_webhook_time")]

    def __str__(self) -> str:
        return self.digest
