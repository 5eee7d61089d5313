"""Models of every shape that the log must be able to describe."""

import uuid

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, User
from django.db import models


class Poll(models.Model):
    question = models.CharField(max_length=200)
    pub_date = models.DateTimeField()
    date = models.DateField(null=True, blank=True)
    owner = models.ForeignKey(User, models.SET_NULL, null=True, blank=True)

    def __str__(self) -> str:
        return self.question


class PollProxy(Poll):
    class Meta:
        proxy = True


class Tag(models.Model):
    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class Bookmark(models.Model):
    """Protects its tag from being deleted."""

    tag = models.ForeignKey(Tag, models.PROTECT)


class Rating(models.Field):
    """A custom field: stored as an integer, a tuple of stars in Python."""

    def get_internal_type(self) -> str:
        return "IntegerField"

    def from_db_value(self, value, expression, connection):
        return None if value is None else self.to_python(value)

    def to_python(self, value):
        return ("*",) * value if isinstance(value, int) else value

    def get_prep_value(self, value):
        return None if value is None else len(value)

    def value_to_string(self, obj):
        return str(len(self.value_from_object(obj)))


class Everything(models.Model):
    """One field of every built-in type, and a custom one."""

    char = models.CharField(max_length=100, default="")
    text = models.TextField(default="", blank=True)
    slug = models.SlugField(default="", blank=True)
    email = models.EmailField(default="", blank=True)
    url = models.URLField(default="", blank=True)
    boolean = models.BooleanField(null=True)
    small = models.SmallIntegerField(null=True)
    positive = models.PositiveIntegerField(null=True)
    positive_small = models.PositiveSmallIntegerField(null=True)
    positive_big = models.PositiveBigIntegerField(null=True)
    integer = models.IntegerField(null=True)
    big = models.BigIntegerField(null=True)
    decimal = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    float = models.FloatField(null=True)
    date = models.DateField(null=True)
    time = models.TimeField(null=True)
    datetime = models.DateTimeField(null=True)
    duration = models.DurationField(null=True)
    uuid = models.UUIDField(null=True)
    ip = models.GenericIPAddressField(null=True)
    binary = models.BinaryField(null=True)
    json = models.JSONField(null=True)
    file = models.FileField(upload_to="files", blank=True)
    image_path = models.FilePathField(path="/", blank=True, default="")
    rating = Rating(null=True)
    modified = models.DateTimeField(auto_now=True)
    internal = models.CharField(max_length=20, default="", editable=False)
    doubled = models.GeneratedField(
        expression=models.F("integer") * 2, output_field=models.BigIntegerField(), db_persist=True
    )
    poll = models.ForeignKey(Poll, models.CASCADE, null=True)
    tags = models.ManyToManyField(Tag, blank=True)
    api_key = models.CharField(max_length=50, default="", blank=True)
    password = models.CharField(max_length=128, default="", blank=True)


class Document(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    title = models.CharField(max_length=100)
    notes = models.JSONField(default=dict, editable=False)


class Page(models.Model):
    """A primary key of free text, with every character that a channel name forbids."""

    path = models.CharField(max_length=200, primary_key=True)


class Seat(models.Model):
    """A composite primary key."""

    pk = models.CompositePrimaryKey("row", "number")
    row = models.CharField(max_length=20)
    number = models.IntegerField()
    guest = models.CharField(max_length=50, default="")


class Place(models.Model):
    name = models.CharField(max_length=50)


class Restaurant(Place):
    """Multi-table inheritance: the primary key is the link to the parent."""

    stars = models.IntegerField(default=0)


class Device(AbstractBaseUser):
    """A user without a ``username``."""

    serial = models.CharField(max_length=50, unique=True)
    USERNAME_FIELD = "serial"
    objects = BaseUserManager()
