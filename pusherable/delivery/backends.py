"""Choosing a class by a setting of the form ``{"BACKEND": "dotted.path", "OPTIONS": {...}}``."""

import threading
from typing import Generic, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from pusherable.conf import Backend, conf

T = TypeVar("T")


class Chosen(Generic[T]):
    """The instance that a setting asks for, made at first use and again when the setting has changed."""

    def __init__(self, setting: str, method: str) -> None:
        self.setting = setting
        self.method = method  # by which it is told from a class that was meant for another setting
        self._made_for: Backend | None = None
        self._instance: T | None = None
        self._lock = threading.Lock()

    def get(self) -> T:
        """Raises ImproperlyConfigured where the setting names no class, or options that it does not take."""
        wanted: Backend = getattr(conf, self.setting)
        instance = self._instance
        if instance is None or wanted != self._made_for:
            with self._lock:  # two dispatchers would be two threads for the life of the process
                instance = self._instance
                if instance is None or wanted != self._made_for:
                    before, instance = instance, self.make(wanted)
                    self._instance, self._made_for = instance, wanted
                    _close(before)
        return instance

    def reset(self) -> None:
        """Close the instance; the next use makes another."""
        with self._lock:
            before, self._instance = self._instance, None
            _close(before)

    def make(self, wanted: Backend) -> T:
        if not isinstance(wanted, dict) or not isinstance(wanted.get("BACKEND"), str):
            raise ImproperlyConfigured(
                f"{self.setting} = {wanted!r}: write {{'BACKEND': 'path.to.Class', 'OPTIONS': {{...}}}}."
            )
        try:
            backend = import_string(wanted["BACKEND"])
            instance: T = backend(**wanted.get("OPTIONS", {}))
        except (ImportError, TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"{self.setting} = {wanted!r}: {error}") from error
        if not callable(getattr(instance, self.method, None)):
            raise ImproperlyConfigured(f"{self.setting} = {wanted!r}: this has no method {self.method}().")
        return instance


def _close(instance: object) -> None:
    if (close := getattr(instance, "close", None)) is not None:
        close()
