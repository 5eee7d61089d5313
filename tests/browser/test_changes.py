"""The update page says when its object is no longer what the page shows."""

import pytest
from playwright.sync_api import expect

from tests.browser.live import SCRIPT, wait_until_subscribed
from tests.browser.viewers import may_go_on, opened, person
from tests.testapp.models import Poll


@pytest.fixture(autouse=True)
def _site(settings, write_page):
    settings.ROOT_URLCONF = "tests.browser.viewers"
    settings.PUSHERABLE_CHANNELS = "private"
    may_go_on.set()


@pytest.fixture
def edit(poll):
    return f"/polls/{poll.pk}/edit/"


def change(page):
    """The warning that the page is out of date."""
    return page.get_by_role("alert")


def when_heard(page, response):
    """Waits until the page has taken note of this answer: it then has one that it has asked for later."""
    page.evaluate("url => fetch(url).then((response) => response.text())", response.url)


def save(page, question):
    page.get_by_role("textbox").fill(question)
    page.get_by_role("button").click()


@pytest.mark.parametrize("by", ["Grace Hopper", "Ada Lovelace"], ids=["another person", "another tab"])
def test_a_change_is_told_at_once(open_page, edit, by):
    people = {name: person(name) for name in ("Ada Lovelace", "Grace Hopper")}
    ada, other = opened(open_page(people["Ada Lovelace"]), edit), opened(open_page(people[by]), edit)
    save(other, "What's up?")  # which changes nothing
    opened(other, edit)
    assert change(ada).text_content() == ""
    save(other, "Who's there?")
    expect(change(ada)).to_have_text(
        f"{people[by].username} has changed this since you opened it. Saving would overwrite that."
    )
    expect(change(ada)).to_be_visible()


def test_a_deletion_is_told_at_once(open_page, edit):
    ada, grace = open_page(person("Ada Lovelace")), open_page(person("Grace Hopper"))
    opened(ada, edit)
    wait_until_subscribed(ada, ada.locator("pusherable-viewers").get_attribute("data-events-channel"))
    grace.goto(edit.replace("edit", "delete"))
    grace.get_by_role("button").click()
    expect(change(ada)).to_have_text("grace has deleted this since you opened it.")


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (lambda polls: polls.update(question="Who's there?"), "This has been changed since you opened it. "),
        (
            lambda polls: polls.delete(),
            "This has been deleted since you opened it, or you may no longer see it.",
        ),
        (lambda polls: None, ""),
    ],
    ids=["changed", "deleted", "as it was"],
)
class TestWhatNoEventHasTold:
    def test_before_the_page_listens(self, open_page, write_page, poll, happens, told):
        """While the page is still being written, but after what it shows has been read."""
        page = SCRIPT + "{% pusherable_viewers object editing=True %}{{ meanwhile }}"
        ada = open_page(person("Ada Lovelace"))
        with ada.expect_response("**/changed/*") as response:
            ada.goto(write_page(page, object=poll, meanwhile=lambda: happens(Poll.objects.all())))
        self.check(ada, response.value, told)

    def test_while_the_connection_is_lost(self, open_page, edit, server, happens, told):
        ada = open_page(person("Ada Lovelace"))
        ada.clock.install()
        with ada.expect_response("**/changed/*"):
            ada.goto(edit)
        server.stop()
        ada.wait_for_function("() => Pusher.instances[0].connection.state !== 'connected'")
        happens(Poll.objects.all())
        server.start()
        with ada.expect_response("**/changed/*") as response:
            ada.clock.fast_forward(15_000)
        self.check(ada, response.value, told)

    def check(self, page, response, told):
        when_heard(page, response)
        expect(change(page)).to_contain_text(told)
        assert bool(told) == bool(change(page).text_content())


def test_an_element_that_comes_later_asks_too(open_page, edit, poll):
    ada = open_page(person("Ada Lovelace"))
    with ada.expect_response("**/changed/*"):
        ada.goto(edit)
    Poll.objects.update(question="Who's there?")
    with ada.expect_response("**/changed/*"):
        ada.evaluate("document.body.append(document.querySelector('pusherable-viewers').cloneNode())")
    expect(change(ada).nth(1)).to_contain_text("This has been changed since you opened it.")


#: Keeps for the next page what this one says when the event of its own save is there, and asks for that page.
GO_ON = """
    () => addEventListener("pusherable:event", () => setTimeout(() => {
        sessionStorage.said = document.querySelector("[role=alert]").textContent;
        fetch("/go-on/");
    }))
"""


def test_ones_own_save_is_no_warning(open_page, edit, poll):
    """Also where the page that comes next is slow, so that the event is there before it."""
    ada = opened(open_page(person("Ada Lovelace")), edit)
    wait_until_subscribed(ada, f"private-poll_{poll.pk}")
    ada.evaluate(GO_ON)
    may_go_on.clear()
    save(ada, "Who's there?")
    expect(ada.get_by_text("Saved.")).to_be_visible()
    assert may_go_on.is_set()
    assert ada.evaluate("sessionStorage.said") == ""


def test_a_form_with_errors_remembers_what_it_was_made_of(open_page, edit, poll):
    ada = open_page(person("Ada Lovelace"))
    with ada.expect_response("**/changed/*"):
        ada.goto(edit)
    Poll.objects.filter(pk=poll.pk).update(question="Who's there?")
    ada.locator("form").evaluate("form => { form.noValidate = true }")
    save(ada, "")
    expect(ada.locator(".errorlist")).to_have_count(1)
    expect(change(ada)).to_contain_text("This has been changed since you opened it.")
    # Opened anew, it shows what there is.
    with ada.expect_response("**/changed/*") as response:
        ada.goto(edit)
    when_heard(ada, response.value)
    assert change(ada).text_content() == ""
