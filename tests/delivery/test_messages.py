"""What goes over the wire for an event."""

import datetime as dt
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pusherable.delivery.messages import MAX_DATA, MAX_ENCRYPTED, Message, encode, messages
from pusherable.encryption import encrypted
from pusherable.models import AccessEvent, Delivery
from tests.listeners import MASTER_KEY
from tests.testapp.models import Seat

AT = dt.datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=dt.UTC)
SNAPSHOT = {"question": "What's up?", "pub_date": "2013-08-08T11:16:24", "id": 1}


def make_event(**fields):
    defaults = {
        "id": 1042,
        "occurred_at": AT,
        "action": "view",
        "object_type": "testapp.poll",
        "object_pk": "1",
        "username": "admin",
        "snapshot": SNAPSHOT,
        "channels": ["poll_1"],
    }
    return AccessEvent(**defaults | fields)


def decoded(**fields):
    return json.loads(encode(make_event(**fields)))


def sized(size, character="x", **fields):
    """An event whose complete message has so many bytes of UTF-8."""
    empty = len(encode(make_event(snapshot=SNAPSHOT | {"question": ""}, **fields)).encode())
    filler, rest = divmod(size - empty, len(character.encode()))
    return make_event(snapshot=SNAPSHOT | {"question": character * filler + "x" * rest}, **fields)


def test_the_documented_message():
    assert decoded() == {
        "object": {"question": "What's up?", "pub_date": "2013-08-08T11:16:24", "id": 1},
        "user": "admin",
        "model": "poll",
        "event_id": 1042,
        "at": "2026-11-22T10:00:00.123Z",
    }


def test_the_time_is_in_utc_whatever_the_zone_of_the_event():
    there = AT.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30)))
    assert decoded(occurred_at=there)["at"] == "2026-11-22T10:00:00.123Z"


def test_an_anonymous_user_has_an_empty_name():
    assert decoded(username="")["user"] == ""


def test_updated_names_the_changed_fields_without_their_values():
    data = encode(make_event(action="updated", changes={"question": ["secret-old", "secret-new"]}))
    assert json.loads(data)["changed"] == ["question"]
    assert "secret" not in data


@pytest.mark.parametrize("action", ["view", "update", "create", "delete", "created", "deleted", "printed"])
def test_no_other_action_has_changed(action):
    assert "changed" not in decoded(action=action, changes={"question": ["old", "new"]})


def test_replayed_is_there_only_for_a_replay():
    delivery = Delivery(event=make_event(), replayed=True)
    assert json.loads(messages(delivery)[0].data)["replayed"] is True
    assert "replayed" not in json.loads(messages(Delivery(event=make_event()))[0].data)


def test_one_message_for_each_channel_by_the_name_of_the_action():
    event = make_event(channels=["poll_1", "private-poll_1"])
    data = encode(event)
    assert messages(Delivery(event=event)) == [
        Message("poll_1", "view", data),
        Message("private-poll_1", "view", data),
    ]


def test_text_is_sent_as_it_is_and_counted_in_bytes():
    data = encode(make_event(snapshot={"id": 1, "question": "😀é"}))
    assert "😀é" in data  # not \\ud83d\\ude00, which would be 12 bytes instead of 4


# Too large for Pusher


@pytest.mark.parametrize("character", ["x", "é", "😀"])
def test_as_much_as_pusher_takes_is_complete(character):
    event = sized(MAX_DATA, character)
    data = encode(event)
    assert len(data.encode()) == MAX_DATA == 10_240
    assert json.loads(data)["object"] == event.snapshot
    assert "truncated" not in json.loads(data)


@pytest.mark.parametrize("character", ["x", "é", "😀"])
@pytest.mark.parametrize("action", ["view", "updated"])
def test_one_byte_more_reduces_the_object_to_its_key(character, action):
    event = sized(MAX_DATA + 1, character, action=action)
    message = json.loads(encode(event))
    assert message["object"] == {"id": 1}
    assert message["truncated"] is True
    assert message["event_id"] == 1042
    assert message["user"] == "admin"


@pytest.mark.parametrize("more", [0, 1])
def test_an_encrypted_message_has_room_for_its_seal(more, settings):
    settings.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 = MASTER_KEY
    channels = ["poll_1", "private-encrypted-poll_1"]
    event = sized(MAX_ENCRYPTED + more)
    event.channels = channels
    [plain, secret] = messages(Delivery(event=event))
    assert [plain.channel, secret.channel] == channels
    assert "truncated" not in plain.data
    assert ("truncated" in secret.data) == bool(more)
    assert len(encrypted(channels[1], secret.data).encode()) <= MAX_DATA
    assert len(encrypted(channels[1], "x" * (MAX_ENCRYPTED + 1))) > MAX_DATA


def test_a_truncated_replay_is_still_a_replay():
    message = json.loads(encode(sized(MAX_DATA + 1), replayed=True))
    assert message["replayed"] is True
    assert message["truncated"] is True


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"object_type": "testapp.poll", "snapshot": {"text": "x" * MAX_DATA}}, {"id": "1"}),
        (
            {"object_type": "testapp.restaurant", "snapshot": {"x": "x" * MAX_DATA, "place_ptr": 7}},
            {"place_ptr": 7},
        ),
        ({"object_type": Seat._meta.label_lower, "snapshot": {"guest": "x" * MAX_DATA}}, {"pk": "1"}),
        ({"object_type": "removed.app", "snapshot": {"x": "x" * MAX_DATA}}, {"pk": "1"}),
        ({"object_type": "nonsense", "snapshot": {"x": "x" * MAX_DATA}}, {"pk": "1"}),
        # A key of free text: the one that the log keeps, which is cut to fit.
        ({"object_type": "testapp.page", "snapshot": {"path": "x" * MAX_DATA}}, {"path": "1"}),
    ],
)
def test_the_key_by_its_name(fields, key):
    message = decoded(**fields)
    assert message["object"] == key
    assert message["truncated"] is True


def test_a_great_many_changed_names_are_left_out_and_the_key_stays():
    message = decoded(action="updated", changes={f"field_{number:05}": [0, 1] for number in range(2_000)})
    assert message["object"] == {"id": 1}
    assert message["changed"] == []
    assert message["truncated"] is True


@pytest.mark.django_db
def test_the_row_keeps_everything(enqueue):
    event = enqueue(snapshot={"id": 1, "question": "😀" * 5_000})
    delivery = Delivery.objects.select_related("event").get()
    assert json.loads(messages(delivery)[0].data)["truncated"] is True
    event.refresh_from_db()
    assert event.snapshot == {"id": 1, "question": "😀" * 5_000}


long_text = st.builds(lambda text, times: text * times, st.text(min_size=1), st.integers(0, 5_000))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)
events = st.builds(
    make_event,
    action=st.sampled_from(["view", "updated"]) | st.text(max_size=50),
    object_type=st.sampled_from(["testapp.poll", "testapp.page", "testapp.seat", "gone.model"]),
    object_pk=st.text(max_size=255),
    username=st.text(max_size=255),
    snapshot=st.dictionaries(st.sampled_from(["id", "path", "pk"]) | st.text(), json_values | long_text),
    changes=st.dictionaries(st.text() | long_text, st.just([None, None])),
    occurred_at=st.datetimes(timezones=st.just(dt.UTC)),
)


@given(event=events, replayed=st.booleans())
@example(
    event=make_event(snapshot={"id": "\x00" * 9_000}, username="\x01" * 255, object_pk="\x02" * 255),
    replayed=True,
)
def test_every_event_fits_and_is_json_with_the_documented_keys(event, replayed):
    data = encode(event, replayed=replayed)
    assert len(data.encode()) <= 10_240
    message = json.loads(data, parse_constant=pytest.fail)
    assert set(message) - {"replayed", "truncated"} == {"object", "user", "model", "event_id", "at"} | (
        {"changed"} if event.action == "updated" else set()
    )
    assert message["object"] == event.snapshot or message["truncated"] is True
    assert isinstance(message["object"], dict)
