"""Who is here now, as three and more people see it in Chromium."""

import pytest
from playwright.sync_api import expect

from pusherable.models import AccessEvent
from tests.browser.viewers import HERE, faces, opened, person


@pytest.fixture(autouse=True)
def _site(settings, write_page):
    settings.ROOT_URLCONF = "tests.browser.viewers"
    settings.PUSHERABLE_CHANNELS = "private"


@pytest.fixture
def here(write_page, poll):
    """A page with the people who have it open."""
    return write_page(HERE, object=poll)


@pytest.fixture
def edit(poll):
    return f"/polls/{poll.pk}/edit/"


def names(page):
    """What a screen reader reads of the people."""
    return page.locator("pusherable-viewers li .pusherable-viewers-hidden").all_text_contents()


def note(page):
    return page.locator(".pusherable-viewers-note")


def warning(page):
    """Of others who edit."""
    return page.locator(".pusherable-viewers-warning[role=status]")


# Coming and leaving


def test_badges_come_and_go(open_page, here):
    ada = opened(open_page(person("Ada Lovelace")), here)
    expect(faces(ada)).to_have_text(["ALAda Lovelace (you)"])
    others = {}
    for count, full_name in enumerate(["Grace Hopper", "Alan Turing"], 2):
        others[full_name] = open_page(person(full_name))
        others[full_name].goto(here)
        expect(faces(ada)).to_have_count(count)
    assert names(ada) == ["Ada Lovelace (you)", "Grace Hopper", "Alan Turing"]
    for page in others.values():
        expect(faces(page)).to_have_count(3)
    assert names(others["Alan Turing"]) == ["Alan Turing (you)", "Ada Lovelace", "Grace Hopper"]
    for count, page in enumerate(others.values()):
        page.close()
        expect(faces(ada)).to_have_count(2 - count)
    assert names(ada) == ["Ada Lovelace (you)"]
    assert not AccessEvent.objects.exists()


def test_the_tabs_of_a_person_are_one_badge(open_page, here):
    grace = person("Grace Hopper")
    ada, first, second = opened(open_page(person("Ada Lovelace")), here), open_page(grace), open_page(grace)
    opened(first, here)
    opened(second, here)
    third = opened(open_page(person("Alan Turing")), here)
    expect(faces(ada)).to_have_count(3)
    assert names(first) == names(second) == ["Grace Hopper (you)", "Ada Lovelace", "Alan Turing"]
    first.close()
    third.close()
    expect(faces(ada)).to_have_count(2)
    assert names(ada) == ["Ada Lovelace (you)", "Grace Hopper"]


def test_who_loads_the_page_anew_does_not_blink(open_page, here):
    ada, grace = opened(open_page(person("Ada Lovelace")), here), open_page(person("Grace Hopper"))
    opened(grace, here)
    opened(open_page(person("Alan Turing")), here)
    expect(faces(ada)).to_have_count(3)
    ada.evaluate(
        """() => {
            window.seen = new Set();
            const list = document.querySelector("pusherable-viewers ul");
            new MutationObserver(() => seen.add(list.children.length)).observe(list, { childList: true });
        }"""
    )
    opened(grace, here)
    expect(faces(grace)).to_have_count(3)
    assert names(ada) == ["Ada Lovelace (you)", "Grace Hopper", "Alan Turing"]
    assert set(ada.evaluate("[...seen]")) <= {3}


def test_more_than_four_are_a_number(open_page, here):
    pages = [
        opened(open_page(person(f"{first} Example")), here)
        for first in ("Ada", "Bea", "Cyd", "Dan", "Eve", "Flo", "Gus")
    ]
    ada = pages[0]
    last = faces(ada).last
    expect(last.locator("[aria-hidden]")).to_have_text("+3")
    expect(faces(ada)).to_have_count(5)
    assert names(ada)[4:] == ["Eve Example", "Flo Example", "Gus Example"]
    assert [name.strip("\u2068\u2069") for name in last.get_attribute("title").split("\n")] == names(ada)[4:]
    pages[1].close()
    expect(last.locator("[aria-hidden]")).to_have_text("+2")
    assert names(ada)[1:4] == ["Cyd Example", "Dan Example", "Eve Example"]


def test_announcements(open_page, here):
    ada = opened(open_page(person("Ada Lovelace")), here)
    status = ada.get_by_role("status")
    grace = opened(open_page(person("Grace Hopper")), here)
    expect(status).to_have_text("\u2068Grace Hopper\u2069 is here")
    assert grace.get_by_role("status").text_content() == "", "not who was there already"
    grace.close()
    expect(status).to_have_text("\u2068Grace Hopper\u2069 has left")
    # Two at the same moment, which two browsers would not meet reliably.
    ada.evaluate(
        """() => ["Alan Turing", "Kurt G\u00f6del"].forEach((name, user_id) => {
            const event = "pusher_internal:member_added";
            const data = { user_id: `new-${user_id}`, user_info: { name } };
            const [channel] = Pusher.instances[0].allChannels();
            channel.handleEvent({ event, data });
        })"""
    )
    expect(status).to_have_text("\u2068Alan Turing\u2069 is here, \u2068Kurt G\u00f6del\u2069 is here")


def test_who_may_not_view_the_object_sees_nobody(open_page, here, ada):
    reader = opened(open_page(person("Grace Hopper")), here)
    stranger = open_page(ada)
    with stranger.expect_response("**/pusherable/auth/") as response:
        stranger.goto(here)
    assert set(response.value.json().values()) == {None}
    expect(faces(stranger)).to_have_count(0)
    expect(faces(reader)).to_have_count(1)
    assert stranger.page_errors() == []


# Editing


def test_who_edits_is_marked_for_everybody(open_page, here, edit):
    grace = person("Grace Hopper")
    ada, reading = opened(open_page(person("Ada Lovelace")), here), opened(open_page(grace), here)
    expect(faces(ada)).to_have_count(2)
    editing = open_page(grace)
    editing.goto(edit)
    expect(note(ada)).to_have_text("Grace Hopper is editing")
    assert names(ada) == ["Ada Lovelace (you)", "Grace Hopper is editing"]
    expect(ada.locator("li[data-editing]")).to_have_count(1)
    expect(ada.get_by_role("status")).to_have_text("\u2068Grace Hopper\u2069 is editing")
    # She knows what she does herself.
    expect(reading.locator("li[data-editing]")).to_have_count(1)
    assert note(reading).text_content() == warning(editing).text_content() == ""

    editing.close()
    expect(note(ada)).to_have_text("")
    assert names(ada) == ["Ada Lovelace (you)", "Grace Hopper"]
    expect(ada.get_by_role("status")).to_have_text("\u2068Grace Hopper\u2069 is no longer editing")


def test_two_who_edit_are_both_warned(open_page, edit):
    ada, grace = (opened(open_page(person(name)), edit) for name in ("Ada Lovelace", "Grace Hopper"))
    expect(warning(ada)).to_contain_text("Grace Hopper is editing this too.")
    expect(warning(grace)).to_contain_text("Ada Lovelace is editing this too.")
    expect(warning(ada)).to_be_visible()
    alan = opened(open_page(person("Alan Turing")), edit)
    expect(warning(ada)).to_contain_text("Grace Hopper and Alan Turing are editing this too.")
    alan.close()
    grace.close()
    expect(warning(ada)).to_have_text("")
    assert ada.get_by_role("alert").text_content() == ""
