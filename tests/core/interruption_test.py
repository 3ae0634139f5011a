"""Signals are noted once, then act as before."""

import os
import signal
import threading

import pytest

from gossamer.core import interruption


@pytest.fixture
def interactive():
    """Ctrl-C raises KeyboardInterrupt even where the test process was started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interactive")
def test_first_signal_is_noted_and_the_second_acts():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with interruption.Interruption() as stop:
        assert stop.received is None
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received is signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_handlers_return_after_an_error():
    def fail():
        with interruption.Interruption():
            assert signal.getsignal(signal.SIGTERM) != before
            raise RuntimeError

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError):
        fail()
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_are_left_alone():
    seen = []

    def work():
        before = signal.getsignal(signal.SIGTERM)
        with interruption.Interruption() as stop:
            seen.append((signal.getsignal(signal.SIGTERM) is before, stop.received))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(True, None)]
