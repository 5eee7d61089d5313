"""The test project's settings, for the benchmarks' own models and views."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, TEMPLATES

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks"]
ROOT_URLCONF = "benchmarks.urls"
PUSHERABLE_TRANSPORT = {"BACKEND": "pusherable.delivery.transports.PusherTransport"}
PUSHERABLE_DISPATCHER = {"BACKEND": "pusherable.delivery.dispatchers.ThreadDispatcher"}
PUSHER_HOST = "127.0.0.1"
PUSHER_SSL = False
PUSHER_TIMEOUT = 1
TEMPLATES = [
    {
        **TEMPLATES[0],
        "APP_DIRS": False,
        "OPTIONS": {
            **TEMPLATES[0]["OPTIONS"],
            "loaders": [
                (
                    "django.template.loaders.locmem.Loader",
                    {
                        "article.html": "<h1>{{ article.title }}</h1><p>{{ article.body }}</p>",
                        "form.html": "<form method=post>{% csrf_token %}{{ form }}</form>",
                    },
                )
            ],
        },
    }
]
