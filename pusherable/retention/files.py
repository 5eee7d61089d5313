"""Files that last: written for nobody else to read, and on the disk when a function returns."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


def create(path: Path, mode: str = "xb") -> io.FileIO:
    return io.FileIO(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when it is whole, or not at all.

    A power failure may undo that until the directory has been synced, too.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with naming(path), io.BufferedWriter(create(part, "wb")) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the path to errors that do not say where it was that the disk is full."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def make_directory(path: Path) -> None:
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(0o700)
        sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Bring the names of its files to the disk; Windows sees to that by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Head(io.RawIOBase):
    """The first bytes of a file, to be read."""

    def __init__(self, path: Path, size: int) -> None:
        self._file, self._left = path.open("rb"), size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(memoryview(buffer)[: self._left])
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
