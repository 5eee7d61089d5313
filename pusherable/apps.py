from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PusherableConfig(AppConfig):
    name = "pusherable"
    verbose_name = _("Access log")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from pusherable import channel_checks, checks  # noqa: F401  # registers the system checks
