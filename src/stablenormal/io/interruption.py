"""SIGTERM and Ctrl-C as a request to stop, which is followed at the next point where nothing is lost."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While its `with` block runs, a signal inside `held` waits for its end; elsewhere it interrupts at once.

    A second signal interrupts in any case. Works in the main thread, where Python delivers signals.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The number of the signal that came, if any."""
        self._held = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the block run to its end; whoever opened it then looks at `signal`."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    @contextmanager
    def released(self) -> Iterator[None]:
        """Inside what is held: a block that a signal interrupts at once, also one that came before."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self._held = False
        try:
            yield
        finally:
            self._held = True

    def _note(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal is not None, number
        if again or not self._held:
            raise KeyboardInterrupt
