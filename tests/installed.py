"""Uses an installed pusherable from an empty folder, as a new project would: no checkout, no test tools."""

import os
import sys
import tempfile
from importlib.resources import files

os.chdir(tempfile.mkdtemp())
sys.path = [entry for entry in sys.path if not entry.endswith("tests")]

import django  # noqa: E402
from django.conf import settings  # noqa: E402

settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.staticfiles",
        "pusherable",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
    STATIC_URL="/static/",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    PUSHER_APP_ID="1",
    PUSHER_KEY="key",
    PUSHER_SECRET="secret",
    PUSHERABLE_TRANSPORT={"BACKEND": "pusherable.delivery.transports.ConsoleTransport"},
    PUSHERABLE_DISPATCHER={"BACKEND": "pusherable.delivery.dispatchers.InlineDispatcher"},
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.contrib.staticfiles.finders import find  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.template import engines  # noqa: E402

from pusherable.recording import record_access  # noqa: E402

call_command("check", fail_level="WARNING")
call_command("migrate", verbosity=0)
user = User.objects.create_user("ada", password="lovelace")
event = record_access(user, "view", user=user)
assert event is not None
assert event.status == "delivered", event.status
assert "password" not in event.snapshot
page = "{% load pusherable_tags %}{% pusherable_script %}{% pusherable_activity user %}"
html = engines["django"].from_string(page).render({"user": user})
assert "pusherable.js" in html, html
assert "<bdi>ada</bdi> opened" in html, html
assert find("pusherable/pusherable.js"), "the static file is missing"
assert files("pusherable").joinpath("py.typed").is_file(), "py.typed is missing"
print("1 passed, 0 failed")
