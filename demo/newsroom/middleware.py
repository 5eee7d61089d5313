from django.conf import settings


def content_security_policy(get_response):
    """Send the strict policy on every Django version; only Django 6 brings a middleware for it."""

    def middleware(request):
        response = get_response(request)
        response.headers["Content-Security-Policy"] = settings.CONTENT_SECURITY_POLICY
        return response

    return middleware
