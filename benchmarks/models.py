"""What the benchmarks read and write."""

from django.db import models
from django.utils import timezone


class Article(models.Model):
    title = models.CharField(max_length=200)
    body = models.TextField()
    section = models.CharField(max_length=50)
    published = models.DateTimeField(default=timezone.now)
    words = models.IntegerField(default=0)

    class Meta:
        app_label = "benchmarks"

    def __str__(self) -> str:
        return self.title


class PlainRow(models.Model):
    """A row as wide as an access event, with as many indexes: what any log in a table costs."""

    occurred_at = models.DateTimeField(default=timezone.now)
    action = models.CharField(max_length=50)
    object_type = models.CharField(max_length=255)
    object_pk = models.CharField(max_length=255)
    object_repr = models.CharField(max_length=255)
    user_pk = models.CharField(max_length=255)
    username = models.CharField(max_length=255)
    remote_addr = models.CharField(max_length=45)
    request_id = models.CharField(max_length=128)
    context = models.JSONField(default=dict)
    snapshot = models.JSONField(default=dict)
    changes = models.JSONField(default=dict)
    channels = models.JSONField(default=list)

    class Meta:
        app_label = "benchmarks"
        indexes = [
            models.Index(fields=["object_type", "object_pk", "-id"], name="plain_object"),
            models.Index(fields=["object_type", "-id"], name="plain_type"),
            models.Index(fields=["user_pk", "-id"], name="plain_user"),
            models.Index(fields=["username", "-id"], name="plain_username"),
            models.Index(fields=["action", "-id"], name="plain_action"),
            models.Index(fields=["occurred_at", "id"], name="plain_time"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_pk}"
