"""Which events make one line of the list."""

import pytest
from django.utils import translation
from hypothesis import example, given
from hypothesis import strategies as st

from pusherable.activity import EVENTS, OPENINGS, Item, grouped, items
from pusherable.models import AccessEvent, Action
from tests.templatetags.html import Parser, elements, render
from tests.templatetags.test_activity import write_catalogue

ADA = {"user_pk": "1", "username": "ada"}


def event(pk=None, **fields):
    about = {"action": "view", "object_type": "testapp.poll", "object_pk": "1", "object_repr": "Poll"}
    return AccessEvent(**{"pk": pk} | about | ADA | fields)


def lengths(*events):
    return [len(item.events) for item in grouped(events)]


few = st.sampled_from(["", "1", "2"])
events = st.lists(
    st.builds(
        event,
        action=st.sampled_from([*Action.values, "printed"]),
        object_type=st.sampled_from(["a.b", "a.c"]),
        object_pk=few,
        object_repr=few,
        user_pk=few,
        username=few,
        remote_addr=few,
    )
)


@given(events)
def test_no_event_is_lost_and_the_order_is_kept(events):
    for pk, each in enumerate(events):
        each.pk = len(events) - pk
    assert [each for item in grouped(events) for each in item.events] == events


@given(events)
@example([event(object_pk="1"), event(object_pk="", object_repr="1")])
def test_a_group_is_one_person_who_opened_one_page_again_and_again(events):
    for pk, each in enumerate(events):
        each.pk = pk
    for item in grouped(events):
        assert item.event is item.events[0]
        if len(item.events) > 1:
            assert item.event.action in OPENINGS
            assert item.event.username or item.event.user_pk
            same = {(e.user_pk, e.username, e.action, e.object_type, e.object_pk) for e in item.events}
            assert len(same) == 1


def test_neighbours_are_not_left_apart():
    assert lengths(event(3), event(2), event(1)) == [3]
    assert lengths(event(4), event(3), event(2, action="updated"), event(1)) == [2, 1, 1]


@pytest.mark.parametrize(
    "other",
    [
        {"username": "eve"},
        {"user_pk": "2"},
        {"action": "update"},
        {"object_pk": "2"},
        {"object_type": "testapp.page"},
    ],
    ids=str,
)
def test_what_differs_is_another_item(other):
    assert lengths(event(2), event(1, **other)) == [1, 1]


def test_changes_are_told_one_by_one():
    assert lengths(event(2, action="updated"), event(1, action="updated")) == [1, 1]
    assert lengths(event(2, action="printed"), event(1, action="printed")) == [1, 1]


def test_two_visitors_are_not_one():
    visitor = {"user_pk": "", "username": "", "remote_addr": "192.0.2.7"}
    assert lengths(event(2, **visitor), event(1, **visitor)) == [1, 1]


def test_a_thing_that_was_renamed_is_the_same_but_things_without_a_key_are_not():
    assert lengths(event(2, object_repr="New"), event(1, object_repr="Old")) == [2]
    assert lengths(event(2, object_pk="", object_repr="A"), event(1, object_pk="", object_repr="B")) == [1, 1]


def test_an_item_knows_all_its_addresses():
    item = Item([event(n, remote_addr=address) for n, address in enumerate(["::1", "", "192.0.2.7", "::1"])])
    assert item.addresses == ["::1", "192.0.2.7"]


# In the list


def record(number=1, **fields):
    each = [event(**fields) for _ in range(number)]
    for one in each:
        one.save()
    return each


def listed(limit=10):
    source = f"{{% pusherable_activity limit={limit} %}}"
    texts = [line.strip() for line in "".join(Parser(render(source)).text).split("\n") if line.strip()]
    return texts[::2]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("view", "ada opened Poll 5 times"),
        ("update", "ada began to edit Poll 5 times"),
        ("create", "ada opened the form for a new Poll 5 times"),
        ("delete", "ada was asked 5 times whether to delete Poll"),
    ],
)
def test_it_says_how_often(action, expected):
    events = record(5, action=action)
    assert listed() == [expected]
    [attributes] = elements("{% pusherable_activity %}", "li")
    assert attributes["data-event-id"] == str(events[-1].pk)
    assert attributes["data-events"] == " ".join(str(one.pk) for one in reversed(events))


@pytest.mark.django_db
@pytest.mark.parametrize("action", sorted(OPENINGS))
def test_how_often_is_part_of_the_sentence(settings, tmp_path, action):
    person, thing = "<bdi>%(user)s</bdi>", "<bdi>%(object)s</bdi>"
    sentences = {
        "view": f"{person} opened {thing} %(counter)s time{{}}",
        "update": f"{person} began to edit {thing} %(counter)s time{{}}",
        "create": f"{person} opened the form for a new {thing} %(counter)s time{{}}",
        "delete": f"{person} was asked %(counter)s time{{}} whether to delete {thing}",
    }
    forms = "\0".join(sentences[action].format(plural) for plural in ("", "s"))
    translated = "\0".join(f"%(counter)s{form} {thing} ({person})" for form in ("mal", "-mal"))
    write_catalogue(tmp_path / "de" / "LC_MESSAGES", {forms: translated})
    settings.LOCALE_PATHS = [tmp_path]
    record(3, action=action)
    with translation.override("de"):
        assert listed() == ["3-mal Poll (ada)"]


@pytest.mark.django_db
def test_the_limit_counts_items(django_assert_num_queries):
    for number in range(4):
        record(3, object_repr=f"Poll {number}", object_pk=str(number))
    with django_assert_num_queries(1):
        assert listed(limit=3) == [f"ada opened Poll {number} 3 times" for number in (3, 2, 1)]


@pytest.mark.django_db
def test_a_number_is_exact_or_is_not_told():
    """What was not read may be more of the same; of what follows something else, the number is known."""
    limit = 2
    record(EVENTS * limit - 1)
    assert listed(limit) == [f"ada opened Poll {EVENTS * limit - 1} times"]
    record()
    assert listed(limit) == ["ada opened Poll"]
    record(3, action="update")
    assert listed(limit) == ["ada began to edit Poll 3 times", "ada opened Poll"]
    record(1, username="eve")
    assert listed(limit) == ["eve opened Poll", "ada began to edit Poll 3 times"]


@pytest.mark.django_db
def test_no_more_is_read_than_that():
    record(EVENTS * 2 + 5)
    [item] = items({}, 2)
    assert len(item.events) == EVENTS * 2
