"""Polite stopping: SIGTERM and Ctrl-C ask, the training loop answers after the current step.

A cluster sends SIGTERM before it kills, a person presses Ctrl-C.  Inside `Interruption` the first
signal only sets a flag; a second one acts as usual.
"""

import signal
import threading


class Interruption:
    """Context in which SIGINT and SIGTERM are noted instead of obeyed.

    Only the main thread may handle signals; in other threads the context does nothing.

    Attributes:
        received: the first signal that came, or None.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._previous = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception) -> None:
        self._restore()

    def _note(self, number, frame) -> None:
        del frame
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            # None stands for a handler that was not installed from Python; it cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
