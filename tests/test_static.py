"""The static files in a project that serves hashed names, as most do in production."""

import re

from django.core.management import call_command
from django.template import engines


def test_the_files_are_collected_and_referred_to_by_their_hashed_names(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}
    }
    call_command("collectstatic", interactive=False, verbosity=0)
    template = engines["django"].from_string("{% load pusherable_tags %}{% pusherable_script %}")
    found = re.findall(r'"/static/pusherable/((\w+)\.[0-9a-f]{12}\.(js|css))"', template.render())
    assert [(name, extension) for _, name, extension in found] == [
        ("pusherable", "css"),
        ("pusherable", "js"),
        ("viewers", "js"),
        ("changes", "js"),
        ("activity", "js"),
    ]
    for hashed, name, extension in found:
        assert (tmp_path / "pusherable" / hashed).read_text() == (
            tmp_path / "pusherable" / f"{name}.{extension}"
        ).read_text()
