"""Private channels: the page asks the site, and only who may view the object hears of it."""

import pytest
from django.contrib.auth.models import Permission, User

from tests.browser.live import SCRIPT, wait_for_event, wait_until_subscribed
from tests.testapp.models import Poll


@pytest.fixture(autouse=True)
def _private(settings, server):
    settings.PUSHERABLE_CHANNELS = "private"


@pytest.fixture
def viewer(db):
    user = User.objects.create_user("viewer")
    user.user_permissions.add(Permission.objects.get(codename="view_poll"))
    return user


def answers(response):
    return {name: bool(answer) for name, answer in response.value.json().items()}


def test_only_who_may_view_the_object_hears_of_it(open_page, write_page, poll, viewer, ada, server):
    name = f"private-poll_{poll.pk}"
    address = write_page(SCRIPT + "{% pusherable_subscribe 'update' object %}", object=poll)
    reader, others, writer = open_page(viewer), [open_page(ada), open_page()], open_page()
    with reader.expect_response("**/pusherable/auth/") as response:
        reader.goto(address)
    assert answers(response) == {name: True}
    wait_until_subscribed(reader, name)
    for other in others:
        with other.expect_response("**/pusherable/auth/") as response:
            other.goto(address)
        assert answers(response) == {name: False}
    writer.goto(f"/polls/{poll.pk}/update/")
    [detail] = wait_for_event(reader, "update")
    assert detail["channel"] == name
    for other in others:
        assert other.evaluate("received") == []
        assert other.page_errors() == []


def test_a_page_with_many_objects_asks_once(open_page, write_page, poll, viewer):
    polls = [poll, *(Poll.objects.create(question=str(n), pub_date=poll.pub_date) for n in range(49))]
    page = open_page(viewer)
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/auth/" in request.url else None)
    tags = "{% for object in polls %}{% pusherable_subscribe 'update' object %}{% endfor %}"
    page.goto(write_page(SCRIPT + tags, polls=polls))
    wait_until_subscribed(page, *(f"private-poll_{each.pk}" for each in polls))
    assert len(asked) == 1
