"""Whatever people and things are called, it is text: a page has the elements that it has for any name."""

from collections import Counter
from html.parser import HTMLParser

import pytest

from pusherable.models import Delivery
from pusherable.snapshots import clean
from tests.admin.pages import LIST
from tests.hostile import PIECES, hundred

pytestmark = pytest.mark.django_db


class Elements(HTMLParser):
    def __init__(self, response):
        super().__init__()
        self.counts = Counter()
        self.feed(response.content.decode())

    def handle_starttag(self, tag, attrs):
        self.counts[tag, tuple(sorted(name for name, _value in attrs))] += 1


def named(text):
    """An event with this text wherever a text can be."""
    text = clean(text)
    names = ["object_pk", "object_repr", "user_pk", "username", "request_id"]
    values = dict.fromkeys(names, text[:100]) | {"remote_addr": text[:45], "action": text[:50]}
    data = {"context": {text: text}, "snapshot": {text: [text]}, "changes": {text: [None, [text]]}}
    return values | data | {"channels": [text[:100]], "object_type": f"gone.{text[:50]}"}


def test_the_list(admin_client, record):
    for _ in range(50):
        record(**named("x"))
    harmless = Elements(admin_client.get(LIST)).counts
    for text in hundred()[:50]:
        record(**named(text))
    hostile = Elements(admin_client.get(LIST)).counts
    # There are choices for each action and type, and a link to older events.
    assert {key: count for key, count in hostile.items() if key[0] not in {"option", "a", "li", "nav"}} == {
        key: count for key, count in harmless.items() if key[0] not in {"option", "a", "li", "nav"}
    }
    assert {key for key, _count in hostile.items()} - set(harmless) <= {("a", ("href", "rel"))}


@pytest.mark.parametrize("text", PIECES, ids=range(len(PIECES)))
def test_an_event(admin_client, record, text):
    harmless, hostile = record(**named("x")), record(**named(text))
    for event, name in ((harmless, "x"), (hostile, clean(text))):
        Delivery.of(event, last_error=name).save()
    pages = [Elements(admin_client.get(f"{LIST}{event.pk}/change/")).counts for event in (harmless, hostile)]
    assert pages[0] == pages[1]
