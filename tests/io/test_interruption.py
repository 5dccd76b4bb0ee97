import os
import signal
import threading

import pytest

from stablenormal.io.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_the_end_of_what_is_held(number):
    done = []
    with Interruption() as interruption:
        with interruption.held():
            os.kill(os.getpid(), number)
            done.append("step")
        assert done == ["step"] and interruption.signal == number


def test_elsewhere_and_the_second_time_it_interrupts_at_once():
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(1)
    assert interruption.signal == signal.SIGTERM
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt), interruption.held():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(1)


def test_what_is_released_is_interrupted_at_once_or_not_begun():
    begun = []
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt), interruption.held():
        with interruption.released():
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(1)
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt), interruption.held():
        os.kill(os.getpid(), signal.SIGTERM)
        with interruption.released():
            begun.append("block")
    assert not begun


def test_handlers_return_to_what_they_were():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
