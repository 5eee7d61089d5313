"""The activity page, what pages ask while they are open, and where Pusher tells who has left."""

import re
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.mixins import PermissionRequiredMixin
from django.contrib.auth.models import AnonymousUser
from django.core.signing import BadSignature
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseForbidden,
    JsonResponse,
)
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_POST
from django.views.generic import TemplateView

from pusherable.activity import grouped
from pusherable.authorization import authorize, permitted
from pusherable.browsing.listing import QueryListing
from pusherable.channels import PREFIXES, checked_names
from pusherable.live import LiveList
from pusherable.presence import member_id
from pusherable.reading import record_search
from pusherable.versions import version
from pusherable.webhooks import WebhookError, receive

#: So many channels are asked for at once, at most.
MOST: Final = 100

_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_SOCKET_ID = re.compile(r"[0-9]{1,20}\.[0-9]{1,20}", re.ASCII)


@method_decorator(never_cache, name="dispatch")
class Activity(PermissionRequiredMixin, TemplateView):
    """The log for whoever may see it; with an `object_type` and `object_pk`, what happened to that object.

    The object, its model and its app may be gone; 404 is for what no event can be about.
    """

    permission_required = "pusherable.view_accessevent"
    template_name = "pusherable/activity_page.html"

    def get_context_data(self, **about: str) -> dict[str, Any]:
        listing = QueryListing(self.request.GET, about)
        if about.keys() & listing.filterset.errors.keys():
            raise Http404
        record_search(self.request, listing.filterset)
        events = listing.page.events
        return super().get_context_data(
            listing=listing,
            items=grouped(events),
            about=about,
            # As it was called last; nobody has to have the object.
            name=(events and events[0].object_repr) or " ".join(about.values()),
            is_staff=getattr(self.request.user, "is_staff", False),
        )


@never_cache
@login_not_required
@require_POST
@csrf_protect
def auth(request: HttpRequest) -> HttpResponse:
    """Authorize one channel as pusher-js asks (``channel_name``), or several at once (``channel_names``).

    ``editing`` names those of them, presence channels, that an update page joins. The answer is what
    pusher-js expects, with status 200, or 403; for several, an object of such answers by name, with null for
    those that are refused or no names at all. 400 for a request that cannot be.
    Source: https://pusher.com/docs/channels/server_api/authorizing-users/
    """
    if request.content_type not in _FORMS:
        return HttpResponseBadRequest("Send a form.")
    socket_id, name = request.POST.get("socket_id", ""), request.POST.get("channel_name")
    names = request.POST.getlist("channel_names") if name is None else [name]
    try:
        checked_names([] if name is None else name)
    except ValueError as error:
        return HttpResponseBadRequest(str(error), content_type="text/plain; charset=utf-8")
    if not _SOCKET_ID.fullmatch(socket_id):
        return HttpResponseBadRequest("socket_id must be two numbers with a dot between them.")
    if not 1 <= len(names) <= MOST:
        return HttpResponseBadRequest(f"Ask for 1 to {MOST} channels.")
    user, editing = getattr(request, "user", AnonymousUser()), request.POST.getlist("editing")
    answers = authorize(user, names, socket_id, editing=editing)
    if name is None:
        return JsonResponse(answers)
    answer = answers[name]
    return HttpResponseForbidden("No.") if answer is None else JsonResponse(answer)


@never_cache
@login_not_required
@require_GET
def changed(request: HttpRequest) -> HttpResponse:
    """Whether the object of a presence channel (``channel``) is another by now than in ``version``.

    403 for who may not subscribe to the channel, and for an object that is gone.
    """
    user, name = getattr(request, "user", AnonymousUser()), request.GET.get("channel", "")
    try:
        checked_names(name)
    except ValueError as error:
        return HttpResponseBadRequest(str(error), content_type="text/plain; charset=utf-8")
    is_member = name.startswith(PREFIXES["presence"]) and member_id(user, editing=False)
    obj = permitted(user, [name]).get(name) if is_member else None
    if obj is None:
        return HttpResponseForbidden("No.")
    return JsonResponse({"changed": version(obj) != request.GET.get("version")})


@never_cache
@login_not_required
@require_GET
def items(request: HttpRequest) -> HttpResponse:
    """The items of a live list as they are now, and nothing else; ``list`` is what its page has been given.

    403 for one that is older than a day, another user's, or of what the user may no longer listen to.
    """
    user = getattr(request, "user", AnonymousUser())
    try:
        shown = LiveList.of(request.GET.get("list", ""))
    except BadSignature:
        return HttpResponseForbidden("No.")
    return HttpResponse(shown.html()) if shown.is_for(user) else HttpResponseForbidden("No.")


@never_cache
@login_not_required
@csrf_exempt
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Take a webhook of Pusher's: 200, or 401 and 400 for one that is not authentic or cannot be.

    Pusher repeats whatever is not answered with 2xx within four seconds, for five minutes.
    """
    key, signature = (request.headers.get(f"X-Pusher-{name}", "") for name in ("Key", "Signature"))
    try:
        receive(request.body, key=key, signature=signature)
    except WebhookError as error:
        return HttpResponse(str(error), status=error.status, content_type="text/plain; charset=utf-8")
    return HttpResponse()
