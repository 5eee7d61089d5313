import re
import uuid

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from pusherable.channels import PREFIXES, Target, channel_name, kind_of, parse
from tests.testapp.models import Document, Page, Place, Poll, PollProxy, Restaurant, Seat

PUSHER_ALLOWS = re.compile(r"[-A-Za-z0-9_=@,.;]{1,164}")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
objects = st.one_of(
    st.builds(Page, path=texts),
    st.builds(Poll, id=st.integers()),
    st.builds(Document, id=st.uuids()),
    st.builds(Seat, row=texts, number=st.integers()),
)


@pytest.mark.parametrize(
    ("obj", "name"),
    [
        (Poll(pk=1), "poll_1"),
        (Poll(pk=-1), "poll_-1"),
        (
            Document(pk=uuid.UUID("12345678-1234-5678-1234-567812345678")),
            "document_12345678-1234-5678-1234-567812345678",
        ),
        (Page(pk="a-slug_2"), "page_a-slug_2"),
        (Page(pk="me@example.com"), "page_me@example.com"),
        (Page(pk="a/b c"), "page_a=2Fb=20c"),
        (Page(pk="a=b;c"), "page_a=3Db=3Bc"),
        (Page(pk="é"), "page_=C3=A9"),
        (Page(pk="a\0b"), "page_a=00b"),
        (Page(pk="a,b"), "page_a,b"),
        (Seat(pk=("A,1", 2)), "seat_A=2C1,2"),
        (PollProxy(pk=1), "poll_1"),
        (Restaurant(pk=3), "restaurant_3"),
        (Place(pk=3), "place_3"),
    ],
)
def test_the_name_of_an_object(obj, name):
    assert channel_name(obj) == name


def test_the_prefix_tells_the_kind():
    assert channel_name(Poll(pk=1), "private") == "private-poll_1"


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(
        ImproperlyConfigured, match="'secret' is not a kind of channel: write one of 'public'"
    ):
        channel_name(Poll(pk=1), "secret")


def test_a_long_name_keeps_its_beginning_and_stays_unique():
    names = {channel_name(Page(pk="x" * 1000 + end)) for end in ("a", "b")}
    assert len(names) == 2
    assert all(name.startswith("page_xxxxx") and ";" in name and len(name) == 146 for name in names)


def test_the_longest_name_is_not_shortened():
    assert channel_name(Page(pk="x" * 141)) == "page_" + "x" * 141
    assert ";" in channel_name(Page(pk="x" * 142))


@pytest.mark.parametrize("kind", PREFIXES)
@given(obj=objects)
def test_pusher_takes_every_name(kind, obj):
    assert PUSHER_ALLOWS.fullmatch(channel_name(obj, kind))
    assert len("private-encrypted-" + channel_name(obj)) <= 164


@given(one=objects, other=objects)
def test_two_objects_never_share_a_name(one, other):
    same_object = type(one) is type(other) and one.pk == other.pk
    assert (channel_name(one) == channel_name(other)) is same_object


@given(st.lists(st.text("a,=;/", max_size=3), min_size=2, max_size=2, unique=True))
def test_keys_of_the_escaping_itself_do_not_meet(keys):
    assert channel_name(Page(pk=keys[0])) != channel_name(Page(pk=keys[1]))
    assert channel_name(Seat(pk=(keys[0], 1))) != channel_name(Seat(pk=(keys[1], 1)))


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{app_label}_{model_name}_{pk}", "testapp_poll_1"),
        ("site-a.{pk}@{model_name}", "site-a.1@poll"),
        ("{model_name}{model_name}{pk}", "pollpoll1"),
    ],
)
def test_the_format_is_a_setting(template, name, settings):
    settings.PUSHERABLE_CHANNEL_FORMAT = template
    assert channel_name(Poll(pk=1)) == name


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "it must be a string"),
        ("{model_name}_{pk", "expected '}' before end of string"),
        ("{model_name}_{}", "unknown placeholder {}; use {app_label}, {model_name} and {pk}"),
        ("{model_name}_{id}", "unknown placeholder {id}"),
        ("{model_name}_{pk.real}", "unknown placeholder {pk.real}"),
        ("{model_name}_{pk!r}", "no conversion"),
        ("{model_name}_{pk:>9}", "no format specification"),
        ("{model_name}", "{pk} once"),
        ("{pk}", "{model_name}"),
        ("{model_name}_{pk}_{pk}", "{pk} once"),
        ("{model_name}/{pk}", "does not allow '/' here"),
        ("{model_name} {pk}", "does not allow ' ' here"),
        ("{{{model_name}}}_{pk}", "does not allow '{' here"),
        ("{model_name}={pk}", "does not allow '=' here"),
        ("private-{model_name}_{pk}", "leave it out"),
        ("presence-{model_name}_{pk}", "leave it out"),
    ],
)
def test_a_wrong_format_is_refused_with_what_is_wrong(template, message, settings):
    settings.PUSHERABLE_CHANNEL_FORMAT = template
    with pytest.raises(ImproperlyConfigured) as error:
        channel_name(Poll(pk=1))
    assert f"PUSHERABLE_CHANNEL_FORMAT = {template!r}" in str(error.value)
    assert message in str(error.value)


MODELS = [Page, Poll, Document, Seat, Restaurant, Place]


@pytest.mark.parametrize("kind", PREFIXES)
@given(obj=objects)
def test_a_name_means_its_object_again(kind, obj):
    name = channel_name(obj, kind)
    wanted = None if ";" in name else Target(kind, type(obj), obj.pk)
    assert parse(name, MODELS) == wanted


@given(text=st.text("abc_=-,.;@0123456789FEpagepollseat", max_size=40))
def test_only_what_an_object_is_called_means_it(text):
    """No other way of writing a name leads to the object: whoever may listen is asked for one name."""
    for name in (text, f"poll_{text}", f"page_{text}", f"seat_{text}", f"private-poll_{text}"):
        target = parse(name, MODELS)
        assert target is None or channel_name(target.model(pk=target.pk), target.kind) == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "poll",
            "poll_",
            "poll_x",
            "poll_017",
            "poll_+1",
            "poll_1_",
            "poll_1=",
            "polls_1",
            "POLL_1",
            " poll_1",
        ),
        *("page_=2f", "page_=41", "page_=FF", "seat_1", "seat_a,1,2", "document_x", "unknown_1"),
        *("private-", "secret-poll_1"),
    ],
)
def test_what_means_nothing(name):
    assert parse(name, MODELS) is None


def test_a_name_of_two_objects_means_neither(settings):
    settings.PUSHERABLE_CHANNEL_FORMAT = "{pk}.{model_name}"
    names = {channel_name(Poll(pk=1)), channel_name(Page(pk="1"))}
    assert names == {"1.poll", "1.page"}
    settings.PUSHERABLE_CHANNEL_FORMAT = "{model_name}_{pk}"
    meta = type("Meta", (), {"app_label": "twin"})
    twin = type("Page_1", (Page,), {"__module__": Page.__module__, "Meta": meta})
    name = channel_name(twin(pk="2"))
    assert name == "page_1_2"
    assert parse(name, [twin]) == Target("public", twin, "2")
    assert parse(name, [Page]) == Target("public", Page, "1_2")
    assert parse(name, [Page, twin]) is None


def test_the_kind_is_the_models_or_the_settings(settings, monkeypatch):
    assert kind_of(Poll) == "public"
    settings.PUSHERABLE_CHANNELS = "private"
    assert channel_name(Poll(pk=1)) == "private-poll_1"
    monkeypatch.setattr(Poll, "pusher_channel_kind", "public", raising=False)
    assert channel_name(Poll(pk=1)) == "poll_1"
    assert channel_name(Poll(pk=1), "private") == "private-poll_1"
