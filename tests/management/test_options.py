"""What the options of the commands are to the filter that pages have, too."""

import pytest
from django.core.management import CommandError

from pusherable.management.options import USAGE, matching
from tests.filtering import NOON, ids, record

pytestmark = pytest.mark.django_db


def found(**options):
    return list(matching(options, "default").order_by("id").values_list("id", flat=True))


def problem(**options):
    with pytest.raises(CommandError) as caught:
        matching(options, "default")
    assert caught.value.returncode == USAGE
    return str(caught.value)


def test_an_object_is_a_model_or_a_model_and_a_key():
    first, second = record(), record(object_pk="a:b\nc")
    record(object_type="gone.thing")
    assert found(object="testapp.poll") == found(object=" testapp.Poll ") == ids(first, second)
    assert found(object="testapp.poll:a:b\nc") == ids(second)
    assert found(object="gone.Thing:2") == []


def test_a_user_is_a_name_or_a_key():
    ada, other = record(username="ada", user_pk="42"), record(username="42", user_pk="7")
    assert found(user="ada") == found(user="pk:42") == ids(ada)
    assert found(user="42") == found(user="pk:7") == ids(other)


def test_since_is_included_and_until_is_not():
    event = record(occurred_at=NOON)
    assert found(since="2026-11-22T12:00") == found(until="2026-11-22") == ids(event)
    assert found(until="2026-11-22T12:00") == found(since="2026-11-23") == []


def test_what_is_not_given_does_not_count():
    event = record()
    assert found(object=None, user=None, action="view", after_id=0) == ids(event)


@pytest.mark.parametrize(
    "value", ["poll", "testapp.", ".poll", "testapp.poll:", "a.b.c", "a.b c", ":1", "blog/post"]
)
def test_what_is_no_object(value):
    assert problem(object=value) == f"--object {value!r}: Enter blog.post, or blog.post:17 for one object."


@pytest.mark.parametrize("option", ["object", "user", "action", "since", "until", "after_id", "status"])
@pytest.mark.parametrize("value", ["", " "])
def test_what_is_empty_is_not_all_of_them(option, value):
    record()
    assert problem(**{option: value}).startswith(f"--{option.replace('_', '-')} {value!r}: ")


@pytest.mark.parametrize(
    "options", [{"object": "a.b:\0"}, {"object": "a.b:\ud800"}, {"user": "\0"}, {"user": "pk:\0"}]
)
def test_problems_have_the_names_of_the_options(options):
    ((option, value),) = options.items()
    assert problem(**options).startswith(f"--{option} {value!r}: It has characters that no event has.")


def test_all_problems_at_once():
    lines = problem(object="x", user="pk:", since="now", action="view").splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["--object", "--user", "--since"]
