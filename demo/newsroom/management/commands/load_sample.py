from datetime import timedelta
from pathlib import Path

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management.base import BaseCommand
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from newsroom.models import Article

SAMPLE = Path(__file__).resolve().parents[2] / "sample"
PEOPLE = [("Jonas", "Hale"), ("Mira", "Okafor")]


def read_article(path):
    """Read `key: value` lines, an empty line, and the body. `days` counts back from today."""
    head, _, body = path.read_text(encoding="utf-8").partition("\n\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    date = timezone.localdate() - timedelta(days=int(fields.pop("days")))
    return Article(**fields, date=date, body=body.strip())


class Command(BaseCommand):
    help = "Fill the desk with its people and articles. A desk that has articles is left as it is."

    @transaction.atomic
    def handle(self, **options):  # noqa: ARG002
        # Who may view articles may listen to what happens to them, too. And both may read the log.
        permissions = Permission.objects.filter(
            Q(content_type__app_label="newsroom") | Q(codename="view_accessevent")
        )
        for first_name, last_name in PEOPLE:
            person, _ = get_user_model().objects.get_or_create(
                username=first_name, defaults={"first_name": first_name, "last_name": last_name}
            )
            person.user_permissions.set(permissions)
        if not Article.objects.exists():
            for path in sorted(SAMPLE.glob("*.txt")):
                read_article(path).save()
