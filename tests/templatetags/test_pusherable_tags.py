"""The script and subscription tags: what they render, parsed as a browser would."""

from datetime import UTC, datetime

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.template import TemplateSyntaxError
from django.utils import translation
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from pusherable.models import Action
from pusherable.templatetags.pusherable_tags import pusherable_subscribe
from tests.templatetags.html import Parser, elements, render
from tests.testapp.models import Document, Page, Poll, PollProxy, Seat


@pytest.fixture
def poll(db):
    return Poll.objects.create(question="What's up?", pub_date=datetime(2026, 11, 22, tzinfo=UTC))


# pusherable_script


def test_script_loads_pusher_js_from_its_cdn_and_then_ours():
    first, ours, *more = elements("{% pusherable_script %}", "script")
    assert first == {"src": "https://js.pusher.com/8.6.0/pusher.min.js", "defer": None}
    assert ours == {
        "src": "/static/pusherable/pusherable.js",
        "defer": None,
        "data-key": "test-key",
        "data-cluster": "eu",
    }
    assert more == [
        {"src": "/static/pusherable/viewers.js", "defer": None},
        {"src": "/static/pusherable/changes.js", "defer": None},
        {"src": "/static/pusherable/activity.js", "defer": None, "data-language": "en-us"},
    ]


def test_script_comes_with_the_stylesheet():
    assert elements("{% pusherable_script %}", "link") == [
        {"rel": "stylesheet", "href": "/static/pusherable/pusherable.css"}
    ]


def test_script_loads_pusher_js_from_elsewhere(settings):
    settings.PUSHERABLE_PUSHER_JS_URL = "/static/pusher.js?a=1&b=2"
    assert elements("{% pusherable_script %}", "script")[0]["src"] == "/static/pusher.js?a=1&b=2"
    assert "a=1&amp;b=2" in render("{% pusherable_script %}")


def test_script_without_pusher_js():
    scripts = elements("{% pusherable_script pusher_js=False %}", "script")
    assert [script["src"].rpartition("/")[2] for script in scripts] == [
        "pusherable.js",
        "viewers.js",
        "changes.js",
        "activity.js",
    ]


@pytest.mark.parametrize(
    ("port", "tls", "expected"),
    [
        (6001, False, {"data-port": "6001", "data-tls": "false"}),
        (None, True, {"data-port": "443", "data-tls": "true"}),
        (None, False, {"data-port": "80", "data-tls": "false"}),
    ],
)
def test_script_names_a_self_hosted_server(settings, port, tls, expected):
    settings.PUSHER_HOST, settings.PUSHER_PORT, settings.PUSHER_SSL = "ws.example.com", port, tls
    ours = elements("{% pusherable_script %}", "script")[1]
    assert {name: value for name, value in ours.items() if name.startswith("data-")} == {
        "data-key": "test-key",
        "data-cluster": "",
        "data-host": "ws.example.com",
    } | expected


def test_script_with_an_empty_host_is_for_pusher_itself(settings):
    settings.PUSHER_HOST = ""  # an environment variable that is not set
    ours = elements("{% pusherable_script %}", "script")[1]
    assert ours["data-cluster"] == "eu"
    assert "data-host" not in ours


def test_script_does_not_localize_the_port(settings):
    settings.USE_THOUSAND_SEPARATOR = True
    settings.PUSHER_HOST, settings.PUSHER_PORT = "ws.example.com", 16001
    with translation.override("de"):
        assert elements("{% pusherable_script %}", "script")[1]["data-port"] == "16001"


@pytest.mark.parametrize("missing", ["PUSHER_APP_ID", "PUSHER_KEY", "PUSHER_SECRET"])
def test_script_connects_to_nothing_without_credentials(settings, missing):
    setattr(settings, missing, None)
    found = Parser(render("{% pusherable_script %}")).elements
    assert [attributes.get("href") or attributes["src"] for _, attributes in found] == [
        "/static/pusherable/pusherable.css",
        "/static/pusherable/activity.js",
    ]


def test_script_names_the_language_as_browsers_do():
    with translation.override("de@euro"):
        assert elements("{% pusherable_script %}", "script")[-1]["data-language"] == "de"


def test_script_never_shows_the_secret(settings):
    settings.PUSHER_HOST = "ws.example.com"
    assert "test-secret" not in render("{% pusherable_script %}")


class LazyNonce:
    """Like Django's: false until it has been written somewhere."""

    def __init__(self):
        self.used = False

    def __bool__(self):
        return self.used

    def __str__(self):
        self.used = True
        return "r4nd0m"


def test_script_passes_the_nonce_on_to_all():
    nonce = LazyNonce()
    html = Parser(render("{% pusherable_script %}", csp_nonce=nonce))
    assert [attributes["nonce"] for _, attributes in html.elements] == ["r4nd0m"] * 6
    assert nonce


@pytest.mark.parametrize("context", [{}, {"csp_nonce": None}])
def test_script_has_no_nonce_where_the_project_has_none(context):
    assert "nonce" not in render("{% pusherable_script %}", **context)


def test_script_has_no_inline_code():
    html = Parser(render("{% pusherable_script %}"))
    assert "".join(html.text).strip() == ""
    assert not [name for _, attributes in html.elements for name in attributes if name.startswith("on")]


@pytest.mark.parametrize(
    "setting", ["PUSHER_KEY", "PUSHER_CLUSTER", "PUSHERABLE_PUSHER_JS_URL", "PUSHER_HOST"]
)
def test_script_escapes_what_the_settings_say(settings, setting):
    if setting != "PUSHER_CLUSTER":
        settings.PUSHER_HOST = "ws.example.com"
    setattr(settings, setting, '"><b>')
    html = Parser(render("{% pusherable_script %}"))
    assert {tag for tag, _ in html.elements} == {"link", "script"}
    assert '"><b>' in [value for _, attributes in html.elements for value in attributes.values()]


# pusherable_subscribe

SUBSCRIBE = "{% pusherable_subscribe 'update' object %}"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "channel", "events"),
    [
        ("'update' object", "poll_{}", "update"),
        ("'update' 'updated' object", "poll_{}", "update updated"),
        ("'update' object kind='private'", "private-poll_{}", "update"),
        ("'update' object kind='public'", "poll_{}", "update"),
        ("action object", "poll_{}", "deleted"),
    ],
)
def test_subscribe(poll, arguments, channel, events):
    html = render(f"{{% pusherable_subscribe {arguments} %}}", object=poll, action=Action.DELETED)
    assert Parser(html).elements == [
        (
            "pusherable-subscribe",
            {"data-channel": channel.format(poll.pk), "data-events": events, "hidden": None},
        )
    ]


def test_subscribe_takes_what_a_view_calls_a_lazy_object(poll):
    lazy = SimpleLazyObject(lambda: poll)
    assert render(SUBSCRIBE, object=lazy) == render(SUBSCRIBE, object=poll) != ""


def test_subscribe_to_a_proxy_is_to_its_model(poll):
    assert render(SUBSCRIBE, object=PollProxy.objects.get()) == render(SUBSCRIBE, object=poll)


@pytest.mark.parametrize("unsaved", [None, Poll(), Document(), Seat()])
def test_subscribe_renders_nothing_for_what_is_not_saved(unsaved):
    assert render(SUBSCRIBE, object=unsaved) == ""


def test_subscribe_renders_nothing_for_what_has_been_deleted(poll):
    poll.delete()
    assert render(SUBSCRIBE, object=poll) == ""


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "last argument must be a model instance"),
        ("'update'", "last argument must be a model instance, not 'update'"),
        ("'update' missing", "last argument must be a model instance, not ''"),
        ("object 'update'", "last argument must be a model instance, not 'update'"),
        ("object", "name the events before the object"),
        ("'' object", "name the events before the object"),
        ("' ' object", "name the events before the object"),
        ("17 object", "name the events before the object"),
        ("missing object", "name the events before the object"),
    ],
)
def test_subscribe_says_what_is_wrong(poll, arguments, complaint):
    with pytest.raises(TemplateSyntaxError, match=complaint) as caught:
        render(f"{{% pusherable_subscribe {arguments} %}}", object=poll)
    assert "{% pusherable_subscribe 'update' object %}" in str(caught.value)


def test_subscribe_refuses_a_kind_that_there_is_not(poll):
    with pytest.raises(ImproperlyConfigured, match="'secret' is not a kind of channel"):
        render("{% pusherable_subscribe 'update' object kind='secret' %}", object=poll)


@given(
    path=st.text(min_size=1, max_size=200), event=st.text(min_size=1).filter(lambda text: not text.isspace())
)
def test_subscribe_escapes_every_key_and_event(path, event):
    page = Page(path=path)
    page._state.adding = False
    html = Parser(pusherable_subscribe(event, page))
    [(tag, attributes)] = html.elements
    assert tag == "pusherable-subscribe"
    assert set(attributes) == {"data-channel", "data-events", "hidden"}
    assert set(attributes["data-channel"]) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=@,.;"
    )
    assert html.text == []
