"""Who may listen to what: the roles, the channels, and the one rule, for the endpoint and for the browser."""

from typing import Any

from django.contrib.auth.models import Permission, User
from guardian.shortcuts import assign_perm

from pusherable.channels import PREFIXES
from tests.testapp.models import Poll

#: Django's permissions of models, and django-guardian's of objects.
BACKENDS = ["django.contrib.auth.backends.ModelBackend", "guardian.backends.ObjectPermissionBackend"]

#: Nobody has to see it, but an encrypted channel needs one.
MASTER_KEY = "dGhpcyBrZXkgaXMgbWFkZSBmb3IgdGVzdHMgb25seSE="

ROLES = {
    "anonymous": False,
    "without permission": False,
    "inactive": False,
    "staff": False,
    "with model permission": True,
    "with object permission": True,
    "superuser": True,
}

#: The names to be, of one poll; a poll is broadcast by a view, a place is not.
TARGETS = {
    "existing object": "poll_{pk}",
    "missing object": "poll_99999",
    "other model": "place_{pk}",
    "malformed name": "poll {pk}",
    "unknown model": "nothing_{pk}",
    "key that cannot be": "poll_99999999999999999999999",
    "name that is not canonical": "poll_0{pk}",
}


def user_with(role: str, poll: Poll) -> User | None:
    if role == "anonymous":
        return None
    user = User.objects.create_user(role, first_name=role.title())
    if role in {"with model permission", "inactive"}:
        user.user_permissions.add(Permission.objects.get(codename="view_poll"))
    if role == "with object permission":
        assign_perm("view_poll", user, poll)
    user.is_staff, user.is_superuser = role in {"staff", "superuser"}, role == "superuser"
    user.is_active = role != "inactive"
    user.save()
    return user


def channel(kind: str, target: str, poll: Poll) -> str:
    return PREFIXES[kind] + TARGETS[target].format(pk=poll.pk)


def is_allowed(role: str, kind: str, target: str) -> bool:
    """Whether the endpoint says yes; nobody is asked about a public channel."""
    return kind != "public" and target == "existing object" and ROLES[role]


def member(user: Any, suffix: str = "") -> dict[str, Any]:
    return {"user_id": f"{user.pk}{suffix}", "user_info": {"name": user.first_name}}
