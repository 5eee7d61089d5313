"""The endpoint that Pusher's client asks whether its user may subscribe."""

import re
from typing import Final

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseForbidden, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST

from pusherable.authorization import authorize
from pusherable.channels import checked_names

#: So many channels are asked for at once, at most.
MOST: Final = 100

_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_SOCKET_ID = re.compile(r"[0-9]{1,20}\.[0-9]{1,20}", re.ASCII)


@never_cache
@login_not_required
@require_POST
@csrf_protect
def auth(request: HttpRequest) -> HttpResponse:
    """Authorize one channel as pusher-js asks (``channel_name``), or several at once (``channel_names``).

    ``editing`` names those of them, presence channels, that an update page joins. The answer is what
    pusher-js expects, with status 200, or 403; for several, an object of such answers by name, with null for
    those that are refused. 400 for a request that cannot be.
    Source: https://pusher.com/docs/channels/server_api/authorizing-users/
    """
    if request.content_type not in _FORMS:
        return HttpResponseBadRequest("Send a form.")
    socket_id, name = request.POST.get("socket_id", ""), request.POST.get("channel_name")
    names = request.POST.getlist("channel_names") if name is None else [name]
    try:
        checked_names(names)
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
