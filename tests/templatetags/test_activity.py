"""The recent-activity list: which events, in one query by an index, and how they read."""

import html as html_module
import struct
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.template import TemplateSyntaxError
from django.utils import timezone, translation
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pusherable.activity import Item
from pusherable.models import AccessEvent, Action
from tests.hostile import in_sentence
from tests.templatetags.html import Parser, elements, render
from tests.testapp.models import Poll, PollProxy, Seat

WHEN = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
EVERYTHING = "{% pusherable_activity %}"
OBJECT = "{% pusherable_activity object %}"

pytestmark = pytest.mark.django_db


def record(obj=None, action="view", user=None, **fields):
    values = {
        "object_type": "testapp.poll",
        "object_pk": "1",
        "object_repr": "What's up?",
        "occurred_at": WHEN,
    }
    if obj is not None:
        values |= {"object_type": obj._meta.label_lower, "object_pk": str(obj.pk), "object_repr": str(obj)}
    if user is not None:
        values |= {"user_pk": str(user.pk), "username": user.get_username()}
    return AccessEvent.objects.create(**values | {"action": action} | fields)


def listed(source, **context):
    """The ids of the events that the list shows, from the top."""
    return [int(attributes["data-event-id"]) for attributes in elements(source, "li", **context)]


def ids(*events):
    return [event.pk for event in events]


def sentences():
    """The sentences of the list, as plain text."""
    parser = Parser(render(EVERYTHING))
    lines = "".join(parser.text).split("\n")
    return [line.strip() for line in lines if line.strip()][::2]


@pytest.fixture
def poll():
    return Poll.objects.create(question="What's up?", pub_date=WHEN)


@pytest.fixture
def ada():
    return User.objects.create_user("ada")


# Which events


def test_everything_newest_first(poll, ada):
    first, second = record(poll), record(ada)
    assert listed(EVERYTHING) == ids(second, first)


def test_of_an_object(poll):
    other = Poll.objects.create(question="Another", pub_date=WHEN)
    mine, _theirs, _of_another_model = record(poll), record(other), record(poll, object_type="testapp.page")
    assert listed(OBJECT, object=poll) == ids(mine)


@pytest.mark.parametrize("lazy", [False, True])
def test_of_a_proxy_is_of_its_model(poll, lazy):
    mine = record(poll)
    proxy = PollProxy.objects.get(pk=poll.pk)
    assert listed(OBJECT, object=SimpleLazyObject(lambda: proxy) if lazy else proxy) == ids(mine)


def test_of_an_object_with_a_composite_key():
    seat = Seat.objects.create(row="A", number=1)
    mine = record(seat, object_pk='["A", "1"]')
    other = Seat.objects.create(row="A", number=2)
    assert listed(OBJECT, object=seat) == ids(mine)
    assert listed(OBJECT, object=other) == []


@pytest.mark.parametrize("model", ["testapp.poll", "testapp.Poll", Poll, PollProxy])
def test_of_a_model(poll, ada, model):
    form, mine = record(poll, "create", object_pk=""), record(poll)
    record(ada)
    assert listed("{% pusherable_activity model %}", model=model) == ids(mine, form)


def test_of_a_model_that_is_named_in_the_template(poll, ada):
    mine, _other = record(poll), record(ada)
    assert listed('{% pusherable_activity "testapp.poll" %}') == ids(mine)


def test_of_a_user(poll, ada):
    eve = User.objects.create_user("eve")
    mine, _theirs, _anonymous = record(poll, user=ada), record(poll, user=eve), record(poll)
    assert listed("{% pusherable_activity user=ada %}", ada=ada) == ids(mine)
    assert listed("{% pusherable_activity user=ada %}", ada=SimpleLazyObject(lambda: ada)) == ids(mine)


def test_of_a_user_and_an_object_or_model(poll, ada):
    on_poll, on_ada, _anonymous = record(poll, user=ada), record(ada, user=ada), record(poll)
    context = {"ada": ada, "object": poll}
    assert listed("{% pusherable_activity object user=ada %}", **context) == ids(on_poll)
    assert listed("{% pusherable_activity 'auth.user' user=ada %}", **context) == ids(on_ada)


def test_nothing_that_is_missing_means_everything(poll):
    """`object` is None on the page of a create form, and an owner may be nobody."""
    record(poll, "create", object_pk="")
    record(poll)
    assert listed(OBJECT, object=None) == []
    assert listed("{% pusherable_activity user=owner %}", owner=None) == []
    assert listed("{% pusherable_activity user=misspelled %}") == []
    assert listed("{% pusherable_activity user=user %}", user=AnonymousUser()) == []
    assert listed("{% pusherable_activity user=user %}", user=SimpleLazyObject(AnonymousUser)) == []


def test_a_deleted_object_leaves_its_events(poll):
    key = poll.pk
    mine = record(poll)
    record(poll, "create", object_pk="")
    poll.delete()
    assert listed(OBJECT, object=poll) == []  # it has no key any more by which to find them
    remembered = Poll(pk=key)
    remembered._state.adding = False
    assert listed(OBJECT, object=remembered) == ids(mine)


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_limit(poll, limit):
    events = [record(poll) for _ in range(12)]
    assert listed("{% pusherable_activity limit=limit %}", limit=limit) == ids(*events[::-1][:limit])
    assert len(listed(EVERYTHING)) == 10


@pytest.mark.parametrize("limit", [0, -1, "10", None, 2.5])
def test_a_wrong_limit(limit):
    with pytest.raises(ValueError, match=r"limit=.* must be a number from 1 up"):
        render("{% pusherable_activity limit=limit %}", limit=limit)


@pytest.mark.parametrize("label", ["testapp.nothing", "nowhere.poll"])
def test_an_unknown_model(label):
    with pytest.raises(LookupError, match=r"nothing|nowhere"):
        render("{% pusherable_activity label %}", label=label)


@pytest.mark.parametrize("subject", ["poll", "", 17, ["testapp.poll"]])
def test_what_is_neither_object_nor_model(subject):
    with pytest.raises(TemplateSyntaxError, match="neither an object nor a model") as caught:
        render("{% pusherable_activity subject %}", subject=subject)
    assert repr(subject) in str(caught.value)


# One query, by an index

CASES = {
    "everything": (EVERYTHING, None),
    "object": (OBJECT, "pusherable_object"),
    "model": ("{% pusherable_activity 'testapp.tag' %}", "pusherable_type"),
    "user": ("{% pusherable_activity user=user %}", "pusherable_user"),
}


@pytest.mark.parametrize(
    "arguments", ["", "object", "user=user", "'testapp.poll'", "object user=user limit=3"]
)
def test_one_query(poll, ada, django_assert_num_queries, arguments):
    for _ in range(3):
        record(poll, "updated", user=ada)
    source = f"{{% pusherable_activity {arguments} %}}"
    with django_assert_num_queries(1) as captured:
        assert len(listed(source, object=poll, user=ada)) == 3
    assert "snapshot" not in captured.captured_queries[0]["sql"]


@pytest.mark.parametrize("case", CASES)
def test_the_query_reads_no_more_than_it_shows(poll, ada, django_assert_num_queries, case):
    """Neither the whole table nor a sort: an index has the events in the order of the list."""
    poll_type = Poll._meta.label_lower
    AccessEvent.objects.bulk_create(
        AccessEvent(action="view", object_type=poll_type, object_pk=str(n % 50), user_pk=str(n % 50))
        for n in range(5_000)
    )
    if connection.vendor != "mysql":  # there it would commit, and it samples the index by itself
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {AccessEvent._meta.db_table}")
    source, index = CASES[case]
    poll.pk = ada.pk = 7
    with django_assert_num_queries(1) as captured:
        render(source, object=poll, user=ada)
    with connection.cursor() as cursor:
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        cursor.execute(f"{explain} {captured.captured_queries[0]['sql']}")
        plan = str(cursor.fetchall())
    if index is not None:
        assert index in plan
    assert not [sort for sort in ("TEMP B-TREE", "filesort", "Sort", "Seq Scan") if sort in plan], plan


# How they read


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("view", "ada opened What's up?"),
        ("update", "ada began to edit What's up?"),
        ("create", "ada opened the form for a new What's up?"),
        ("delete", "ada was asked whether to delete What's up?"),
        ("updated", "ada changed What's up?"),
        ("created", "ada created What's up?"),
        ("deleted", "ada deleted What's up?"),
        ("left", "ada left What's up?"),
        ("printed", "ada: printed What's up?"),
    ],
)
def test_sentences(action, expected):
    record(action=action, username="ada")
    assert sentences() == [expected]
    assert elements(EVERYTHING, "li")[0]["data-action"] == action


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (0, " after 1 second"),
        (1.4, " after 1 second"),
        (59.5, " after 60 seconds"),
        (119, " after 119 seconds"),
        (120, " after 2 minutes"),
        (300.4, " after 5 minutes"),
        (5400, " after 90 minutes"),
        (7200, " after 2 hours"),
        (100_000, " after 28 hours"),
        # Words of a project's own, which had an action of this name before.
        *((unknown, "") for unknown in (None, True, "5", -1, [], {})),
    ],
)
def test_how_long_a_visit_was(duration, expected):
    record(action="left", username="ada", context={"duration": duration})
    assert sentences() == [f"ada left What's up?{expected}"]


def test_an_anonymous_visitor_and_an_object_without_a_name():
    record(action="create", object_repr="")
    assert sentences() == ["A visitor opened the form for a new testapp.poll"]


def test_structure(poll):
    record(poll)
    parser = Parser(render(OBJECT, object=poll))
    assert [tag for tag, _ in parser.elements] == ["section", "ol", "li", "span", "bdi", "bdi", "time"]
    assert parser.elements[0][1] == {"class": "pusherable-activity", "aria-label": "Recent activity"}


def test_empty():
    parser = Parser(render(EVERYTHING))
    assert [tag for tag, _ in parser.elements] == ["section", "p"]
    assert "".join(parser.text).strip() == "Nothing has happened here yet."


def test_time_for_machines_and_people(settings):
    record()
    with timezone.override("Asia/Kolkata"):
        [attributes] = elements(EVERYTHING, "time")
        text = "".join(Parser(render(EVERYTHING)).text)
    assert datetime.fromisoformat(attributes["datetime"]) == WHEN
    assert "Nov. 22, 2026, 3:30 p.m." in text


def test_a_time_without_a_zone_has_that_of_the_site(settings):
    """A browser elsewhere would take it to be its own."""
    settings.USE_TZ, settings.TIME_ZONE = False, "Asia/Kolkata"
    event = AccessEvent(pk=1, occurred_at=datetime(2026, 11, 22, 15, 30), action="view")  # noqa: DTZ001
    [attributes] = [
        attributes for tag, attributes in Parser(template_of_one(event)).elements if tag == "time"
    ]
    assert datetime.fromisoformat(attributes["datetime"]) == WHEN


def test_numbers_are_not_localized(settings):
    settings.USE_THOUSAND_SEPARATOR = True
    event = record(id=1_234_567)
    with translation.override("de"):
        assert listed(EVERYTHING) == [event.pk]


def test_a_project_may_word_it_its_own_way(settings, tmp_path):
    folder = tmp_path / "pusherable"
    folder.mkdir()
    (folder / "sentence.html").write_text("{{ event.username }} was here")
    settings.TEMPLATES = [engine | {"DIRS": [tmp_path]} for engine in settings.TEMPLATES]
    record(username="kilroy")
    assert sentences() == ["kilroy was here"]


def test_every_sentence_is_translated_as_a_whole(settings, tmp_path):
    """With a catalogue of the test's own, made as a translator makes it."""
    person, thing = "<bdi>%(user)s</bdi>", "<bdi>%(object)s</bdi>"
    catalogue = {
        f"{person} opened {thing}": f"{thing}: offen ({person})",
        f"{person} began to edit {thing}": f"{thing}: in Arbeit ({person})",
        f"{person} opened the form for a new {thing}": f"{thing}: Formular ({person})",
        f"{person} was asked whether to delete {thing}": f"{thing}: Nachfrage ({person})",
        f"{person} changed {thing}": f"{thing}: neu ({person})",
        f"{person} created {thing}": f"{thing}: da ({person})",
        f"{person} deleted {thing}": f"{thing}: weg ({person})",
        f"{person} left {thing}": f"{thing}: fort ({person})",
        f"{person}: %(action)s {thing}": f"{thing}: %(action)s ({person})",
        "A visitor": "Gast",
        "Recent activity": "Neues",
        "Nothing has happened here yet.": "Nichts.",
    }
    write_catalogue(tmp_path / "de" / "LC_MESSAGES", catalogue)
    settings.LOCALE_PATHS = [tmp_path]
    with translation.override("de"):
        assert "Nichts." in render(EVERYTHING)
        words = "offen", "in Arbeit", "Formular", "Nachfrage", "neu", "da", "weg", "fort", "search", "export"
        for action, word in zip((*Action.values, "gedruckt"), (*words, "gedruckt"), strict=True):
            record(action=action, object_repr="Uhr")
            assert sentences()[0] == f"Uhr: {word} (Gast)"
        assert 'aria-label="Neues"' in render(EVERYTHING)


@pytest.mark.parametrize(
    ("duration", "unit", "expected"),
    [
        (1, "second", "Uhr: kurz (Gast)"),
        (600, "minute", "Uhr: 10 lang (Gast)"),
        (9000, "hour", "Uhr: 2 lang (Gast)"),
    ],
)
def test_how_long_a_visit_was_is_part_of_the_sentence(settings, tmp_path, duration, unit, expected):
    person, thing = "<bdi>%(user)s</bdi>", "<bdi>%(object)s</bdi>"
    forms = (f"{person} left {thing} after %(counter)s {unit}{plural}" for plural in ("", "s"))
    translated = f"{thing}: kurz ({person})", f"{thing}: %(counter)s lang ({person})"
    write_catalogue(
        tmp_path / "de" / "LC_MESSAGES", {"A visitor": "Gast", "\0".join(forms): "\0".join(translated)}
    )
    settings.LOCALE_PATHS = [tmp_path]
    record(action="left", object_repr="Uhr", context={"duration": duration})
    with translation.override("de"):
        assert sentences() == [expected]


def write_catalogue(folder, catalogue):
    """A compiled catalogue: https://www.gnu.org/software/gettext/manual/html_node/MO-Files.html."""
    folder.mkdir(parents=True)
    entries = sorted(({"": "Content-Type: text/plain; charset=UTF-8\n"} | catalogue).items())
    texts = [text.encode() for column in zip(*entries, strict=True) for text in column]
    header = struct.pack("<7I", 0x950412DE, 0, len(entries), 28, 28 + 8 * len(entries), 0, 0)
    table, body = b"", b""
    for text in texts:
        table += struct.pack("<2I", len(text), len(header) + 8 * len(texts) + len(body))
        body += text + b"\0"
    (folder / "django.mo").write_bytes(header + table + body)


# Hostile text

hostile = st.text(
    alphabet=st.sampled_from("<>&\"'/!-={}%() \u202eabscript")
    | st.characters(exclude_characters="\r\n", codec="utf-8"),
    min_size=1,
    max_size=50,
).filter(lambda text: text == text.strip() and "\x00" not in text)


@given(username=hostile, name=hostile, action=hostile)
@hypothesis_settings(max_examples=50)
def test_text_is_text_only(username, name, action):
    event = AccessEvent(pk=1, occurred_at=WHEN, action=action, username=username, object_repr=name)
    parser = Parser(template_of_one(event))
    assert [tag for tag, _ in parser.elements] == ["section", "ol", "li", "span", "bdi", "bdi", "time"]
    assert parser.elements[2][1]["data-action"] == action
    text = "".join(parser.text)
    assert in_sentence(username) in text
    assert in_sentence(name) in text


def template_of_one(event):
    from django.template.loader import render_to_string

    return render_to_string("pusherable/activity.html", {"items": [Item([event])]})


def test_markup_in_names_stays_text():
    record(username="<script>alert(1)</script>", object_repr="%(user)s & <b>", action="x\" onclick='y'")
    source = render(EVERYTHING)
    assert html_module.escape("<script>alert(1)</script>") in source
    assert "<script" not in source
    assert sentences() == ["<script>alert(1)</script>: x\" onclick='y' %(user)s & <b>"]
