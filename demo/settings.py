"""Settings of the demo: a site on this machine, talking to the local Pusher-compatible server.

`run.py` chooses the port and the folder of what the demo makes, `.build/demo/` unless it only runs through,
and passes them on as `DEMO_*` environment variables.
"""

import os
from pathlib import Path

import django

BASE_DIR = Path(__file__).resolve().parent
BUILD_DIR = Path(os.environ.get("DEMO_BUILD", BASE_DIR.parent / ".build" / "demo"))
VENDOR_DIR = BUILD_DIR / "static"

SECRET_KEY = "not a secret: the demo listens on this machine only"
DEBUG = True
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
ROOT_URLCONF = "urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "sign-in"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "newsroom",  # before pusherable, of which it replaces a template
    "pusherable",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "newsroom.views.people",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BUILD_DIR / "db.sqlite3",
        # Two people and the sending thread write at once: wait for the lock at BEGIN, not fail later.
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL",
        },
    }
}

STATIC_URL = "/static/"
STATICFILES_DIRS = [VENDOR_DIR] if VENDOR_DIR.is_dir() else []

PUSHER_APP_ID = "1"
PUSHER_KEY = "demo-key"
PUSHER_SECRET = "demo-secret"
PUSHER_HOST = "127.0.0.1"
PUSHER_PORT = int(os.environ.get("DEMO_PUSHER_PORT", "6001"))
PUSHER_SSL = False
PUSHERABLE_CHANNELS = "private"
PUSHERABLE_FEED = True

# What the pages need, and nothing unsafe. Django 6 brings the middleware; on Django 5.2 there is no policy.
if django.VERSION >= (6,):
    MIDDLEWARE.insert(1, "django.middleware.csp.ContentSecurityPolicyMiddleware")
SECURE_CSP = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'"],
    "connect-src": ["'self'", f"ws://{PUSHER_HOST}:{PUSHER_PORT}"],
    "form-action": ["'self'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
}
if (VENDOR_DIR / "vendor" / "pusher.min.js").is_file():
    PUSHERABLE_PUSHER_JS_URL = STATIC_URL + "vendor/pusher.min.js"
else:
    # Without npm the browser takes pusher-js from the address that is the package's default.
    SECURE_CSP["script-src"].append("https://js.pusher.com")
