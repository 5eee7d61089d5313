"""The element of those who are here, in a page that changes, with names and pictures of every kind."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from tests.browser.viewers import HERE, opened
from tests.server.clients import http_client

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080600000"
    "01f15c4890000000d4944415478da6360f8cfc0f01f00040501ff5fc4d2ac0000000049454e44ae426082"
)
HOSTILE = {
    "script": "</script><img src=x onerror=hacked=1>",
    "quotes": """"'><svg onload=hacked=1> {name} {names}""",
    "bidi": "\u202egnp.exe\u202c \u2066\u05d0\u05d1\u2069\u2069",
    "json": '\\u0022, "label": "hacked" } & &lt;b&gt;',
}


@pytest.fixture(autouse=True)
def _site(settings, write_page):
    settings.PUSHERABLE_CHANNELS = "private"


@pytest.fixture
def person(db):
    """A user with this name, who may view everything."""

    def make(name):
        return User.objects.create_superuser(f"user {User.objects.count()}", last_name=name)

    return make


@pytest.fixture
def here(write_page, poll):
    return write_page(HERE, object=poll)


def items(page, element=0):
    return page.locator("pusherable-viewers").nth(element).locator("li")


def insert(page, *, editing=False):
    """As htmx does: another element for the same object."""
    page.evaluate(
        """editing => {
            const copy = document.querySelector("pusherable-viewers").cloneNode();
            copy.toggleAttribute("data-editing", editing);
            document.body.append(copy);
        }""",
        editing,
    )


def on_the_server(server, channel):
    return {user["id"] for user in http_client(server.port).users_info(channel)["users"]}


def test_inserted_moved_and_removed(open_page, here, person, poll, server):
    ada, grace = opened(open_page(person("Ada")), here), opened(open_page(person("Grace")), here)
    expect(items(ada)).to_have_count(2)
    ada.evaluate("window.first = document.querySelector('pusherable-viewers')")
    insert(ada)
    expect(items(ada, 1)).to_have_count(2)
    ada.evaluate("document.body.appendChild(document.createElement('main')).append(first)")
    expect(items(ada, 1)).to_have_count(2)
    expect(ada.locator("main li")).to_have_count(2)
    ada.evaluate("first.remove()")
    expect(items(ada)).to_have_count(2)

    # With the last of them, the person has left; with a new one she is back.
    ada.evaluate("document.querySelector('pusherable-viewers').remove()")
    expect(items(grace)).to_have_count(1)
    assert len(on_the_server(server, f"presence-poll_{poll.pk}")) == 1
    ada.evaluate("document.body.append(first)")
    expect(items(grace)).to_have_count(2)
    expect(items(ada)).to_have_count(2)
    assert ada.page_errors() == []


def test_two_elements_of_an_object_speak_once(open_page, write_page, person, poll):
    ada = opened(open_page(person("Ada")), write_page(HERE + "{% pusherable_viewers object %}", object=poll))
    expect(items(ada, 1)).to_have_count(1)
    opened(open_page(person("Grace")), write_page(HERE, object=poll))
    expect(items(ada, 0)).to_have_count(2)
    expect(items(ada, 1)).to_have_count(2)
    expect(ada.get_by_role("status").first).to_contain_text("Grace")
    assert ada.get_by_role("status").nth(1).text_content() == ""


def test_a_page_that_begins_to_edit(open_page, here, person, poll, server):
    """As where a form is swapped in: who was here is now one who edits, and no longer when it goes."""
    user = person("Ada")
    ada, grace = opened(open_page(user), here), opened(open_page(person("Grace")), here)
    note = grace.locator(".pusherable-viewers-note")
    insert(ada, editing=True)
    expect(note).to_have_text("Ada is editing")
    assert f"{user.pk}!edit" in on_the_server(server, f"presence-poll_{poll.pk}")
    assert f"{user.pk}" not in on_the_server(server, f"presence-poll_{poll.pk}")
    ada.evaluate("document.querySelector('pusherable-viewers[data-editing]').remove()")
    expect(note).to_have_text("")
    expect(items(grace)).to_have_count(2)
    assert f"{user.pk}" in on_the_server(server, f"presence-poll_{poll.pk}")


def test_the_page_is_morphed_into_what_the_server_sends(open_page, here, person):
    ada = opened(open_page(person("Ada")), here)
    ada.evaluate("document.querySelector('pusherable-viewers').replaceChildren()")
    opened(open_page(person("Grace")), here)
    expect(items(ada)).to_have_count(2)


def test_after_the_connection_was_lost(open_page, here, person, server):
    ada, alan, grace = (open_page(person(name)) for name in ("Ada", "Alan", "Grace"))
    for page in (ada, alan, grace):
        page.clock.install()
        opened(page, here)
    expect(items(ada)).to_have_count(3)
    server.stop()
    grace.close()
    for page in (ada, alan):
        page.wait_for_function("() => Pusher.instances[0].connection.state !== 'connected'")
    server.start()
    for page in (ada, alan):
        page.clock.fast_forward(15_000)
    for page in (ada, alan):
        expect(items(page)).to_have_count(2)
    expect(items(ada).locator("bdi")).to_have_text(["Ada", "Alan"])


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_are_text(open_page, write_page, person, poll, name):
    name = name.ljust(100, "x")
    ada = opened(open_page(person("Ada")), write_page(HERE, object=poll))
    page = HERE.replace("object", "object editing=True")
    opened(open_page(person(name)), write_page(page, object=poll))
    editor = opened(open_page(person("Grace")), write_page(page, object=poll))
    expect(ada.locator(".pusherable-viewers-note bdi").first).to_have_text(name)
    expect(editor.locator(".pusherable-viewers-warning bdi")).to_have_text(name)
    expect(ada.get_by_role("status")).to_contain_text("is editing")
    for each in (ada, editor):
        assert each.locator("li bdi", has_text=name[:20]).first.text_content() == name
        expect(each.locator("pusherable-viewers :is(img, svg, script, b)")).to_have_count(0)
        assert each.evaluate("typeof hacked") == "undefined"
        assert each.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert each.page_errors() == []


def test_avatars(open_page, here, person, settings):
    settings.PUSHERABLE_PRESENCE_INFO = lambda user: {
        "avatar": {
            "Ada": "/media/ada.png",
            "Bea": "javascript:hacked=1",
            "Cyd": "/media/missing.png",
            "Dan": 5,
        }[user.last_name]
    }
    ada = open_page(person("Ada"))
    ada.route("**/media/ada.png", lambda route: route.fulfill(body=PIXEL, content_type="image/png"))
    opened(ada, here)
    for name in ("Bea", "Cyd", "Dan"):
        opened(open_page(person(name)), here)
    expect(items(ada)).to_have_count(4)
    # Where there is none, or none that can be shown, the initials are.
    expect(ada.locator("pusherable-viewers img")).to_have_count(1)
    expect(items(ada).first.locator("img")).to_have_attribute("src", "/media/ada.png")
    assert ada.locator(".pusherable-viewers-face").all_text_contents() == ["A", "B", "C", "D"]


CONTRASTS = """
    () => {
        const light = (colour) => {
            const [red, green, blue] = colour.match(/[\\d.]+/g).map((part) => {
                const value = part / 255;
                return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        };
        const root = document.querySelector("pusherable-viewers");
        const colours = [..."01234567"].map((number) => `face pusherable-viewers-colour-${number}`);
        return ["warning", "face", ...colours].map((name) => {
            const element = document.createElement("p");
            element.className = `pusherable-viewers-${name}`;
            element.textContent = "AL";
            root.append(element);
            const { color, backgroundColor } = getComputedStyle(element);
            const [dark, bright] = [light(color), light(backgroundColor)].sort((a, b) => a - b);
            return (bright + 0.05) / (dark + 0.05);
        });
    }
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(open_page, write_page, person, poll, scheme):
    page = open_page(person("Ada"))
    page.emulate_media(color_scheme=scheme)
    opened(page, write_page(HERE + "<meta name='color-scheme' content='light dark'>", object=poll))
    contrasts = page.evaluate(CONTRASTS)
    assert min(contrasts) >= 4.5, contrasts


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_nothing_moves_and_everything_fits(open_page, write_page, person, poll, direction):
    page = open_page(person("Ada"))
    page.set_viewport_size({"width": 320, "height": 600})
    template = HERE.replace("<html", f"<html dir={direction}") + "<h1>Poll</h1>"
    address = write_page(template, object=poll)
    page.route("**/pusherable.js", lambda route: route.abort())
    page.goto(address)
    before = page.locator("h1").bounding_box()
    page.unroute_all()
    for number in range(7):
        opened(open_page(person(f"Person {number}")), address)
    opened(page, address)
    expect(items(page)).to_have_count(5)
    assert page.locator("h1").bounding_box() == before
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
