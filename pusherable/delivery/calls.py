"""Calls to Pusher, several at once: in each the messages of up to ten deliveries."""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Final

from django.core.exceptions import ImproperlyConfigured

from pusherable.delivery.breaker import breaker
from pusherable.delivery.messages import Message, messages
from pusherable.delivery.transports import (
    ConfigurationError,
    RefusedError,
    TransportError,
    probe,
    transport,
)
from pusherable.models import Delivery

#: Pusher takes at most this many events in one call.
BATCH: Final = 10
#: What has failed more often than this is sent alone, so that it cannot be what fails the others.
SUSPECT_AFTER: Final = 3


@dataclass
class Track:
    """Deliveries that leave one after another, and what became of them."""

    deliveries: list[Delivery]
    deadline: float  # by time.monotonic(): no call begins later
    sent: list[Delivery] = field(default_factory=list)
    failed: list[tuple[Delivery, Exception]] = field(default_factory=list)

    @property
    def untried(self) -> list[Delivery]:
        return self.deliveries[len(self.sent) + len(self.failed) :]

    @property
    def is_held(self) -> bool:
        """Whether one has to be tried again before those after it, which may be of its lane."""
        return any(not _is_final(error) for _, error in self.failed)

    def note(self, errors: list[Exception | None]) -> None:
        """What became of the next ones."""
        for delivery, error in zip(self.untried, errors, strict=False):
            if error is None:
                self.sent.append(delivery)
            else:
                self.failed.append((delivery, error))


def tracks(deliveries: Iterable[Delivery], deadline: float) -> list[Track]:
    """The deliveries of a lane stay together and in order; small lanes share a track, and so its calls."""
    lanes: dict[int, list[Delivery]] = {}
    for delivery in deliveries:
        lanes.setdefault(delivery.lane, []).append(delivery)
    made, room = [], 0
    for lane in lanes.values():
        suspect = lane[0].attempts > SUSPECT_AFTER
        if suspect or len(lane) > room:
            made.append(Track([], deadline))
            room = BATCH
        made[-1].deliveries += lane
        room = 0 if suspect else room - len(lane)
    return made


class Calls:
    """Runs tracks, up to `concurrency` at once, in threads that only make calls."""

    def __init__(self, concurrency: int, stopped: Callable[[], bool]) -> None:
        self.concurrency = concurrency
        self.pending = 0
        self._stopped = stopped
        self._waiting: SimpleQueue[Track | None] = SimpleQueue()
        self._done: SimpleQueue[Track] = SimpleQueue()
        self._threads = 0

    def add(self, track: Track) -> None:
        self.pending += 1
        self._waiting.put(track)
        if min(self.pending, self.concurrency) == 1:
            return  # `finished` does the work itself
        # An interpreter that is shutting down starts no thread any more, and leaves it to `finished` as well.
        with suppress(RuntimeError):
            while self._threads < min(self.pending, self.concurrency):
                threading.Thread(target=self._work, name="pusherable-call", daemon=True).start()
                self._threads += 1

    def finished(self) -> list[Track]:
        """Wait for a track to end; returns all that have."""
        if not self._threads and (track := self._waiting.get()) is not None:
            self._run(track)
            self._done.put(track)
        ended = [self._done.get()]
        while not self._done.empty():
            ended.append(self._done.get())
        self.pending -= len(ended)
        return ended

    def close(self) -> None:
        for _ in range(self._threads):
            self._waiting.put(None)

    def _work(self) -> None:
        while (track := self._waiting.get()) is not None:
            try:
                self._run(track)
            except BaseException as error:  # noqa: BLE001  # nobody else would hear of it
                track.failed += [(delivery, TransportError(repr(error))) for delivery in track.untried]
            finally:
                self._done.put(track)

    def _run(self, track: Track) -> None:
        while track.untried and self._may_call(track):
            batch = track.untried[:BATCH]
            if batch[0].attempts > SUSPECT_AFTER:
                batch = batch[:1]
            errors = [_call(batch, track.deadline)] * len(batch)
            if isinstance(errors[0], RefusedError):
                errors = _blame(errors if len(batch) == 1 else self._send_apart(track, batch))
            track.note(errors)

    def _may_call(self, track: Track) -> bool:
        # Not after a failure either: what comes next may be of the same lane.
        return not (track.is_held or self._stopped() or breaker.pause or time.monotonic() > track.deadline)

    def _send_apart(self, track: Track, batch: list[Delivery]) -> list[Exception | None]:
        """One that is wrong, or the size of all together, must not keep the others back."""
        errors: list[Exception | None] = []
        for delivery in batch:
            errors.append(_call([delivery], track.deadline))
            if not _is_final(errors[-1]) or time.monotonic() > track.deadline:
                break
        return errors


def _call(deliveries: list[Delivery], deadline: float) -> Exception | None:
    """Send all messages of the deliveries; returns why they may not have arrived."""
    try:
        _send(_encode(deliveries), deadline)
    except RefusedError as error:
        return error  # the server is there, and does its work
    except Exception as error:  # noqa: BLE001  # a project's own transport may raise anything
        breaker.failed(error)
        return error
    return None


def _encode(deliveries: list[Delivery]) -> list[Message]:
    try:
        return [message for delivery in deliveries for message in messages(delivery)]
    except Exception as error:
        raise RefusedError(f"It cannot be encoded: {type(error).__name__}: {error}") from error


def _send(batch: list[Message], deadline: float) -> None:
    try:
        sender = transport.get()
    except ImproperlyConfigured as error:
        raise ConfigurationError(str(error)) from error
    for start in range(0, len(batch), BATCH):
        if start and time.monotonic() > deadline:
            raise TransportError(f"There was time for {start} of {len(batch)} messages.")
        sender.send(batch[start : start + BATCH])
        breaker.succeeded()


def _blame(errors: list[Exception | None]) -> list[Exception | None]:
    """Where nothing but refusals came, the server may refuse everything, as one that expects https does."""
    if not all(isinstance(error, RefusedError) for error in errors):
        return errors
    try:
        probe()
    except RefusedError as error:
        fault: Exception = ConfigurationError(f"Every call is refused: {error}")
    except Exception as error:  # noqa: BLE001  # as above
        fault = error
    else:
        return errors
    breaker.failed(fault)
    return [fault] * len(errors)


def _is_final(error: Exception | None) -> bool:
    """Sent, or never to be sent: what comes after it may go."""
    return error is None or isinstance(error, RefusedError)
