"""The static file in a project that serves hashed names, as most do in production."""

import re

from django.core.management import call_command
from django.template import engines


def test_the_script_is_collected_and_referred_to_by_its_hashed_name(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}
    }
    call_command("collectstatic", interactive=False, verbosity=0)
    template = engines["django"].from_string("{% load pusherable_tags %}{% pusherable_script %}")
    [name] = re.findall(r'src="/static/(pusherable/pusherable\.[0-9a-f]{12}\.js)"', template.render())
    assert (tmp_path / name).read_text() == (tmp_path / "pusherable" / "pusherable.js").read_text()
