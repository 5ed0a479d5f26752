"""Signals become a wish that is granted between two steps."""

import signal
import threading

import pytest

from asterism.engine.interrupt import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish(number):
    before = signal.getsignal(number)
    with interruptible() as asked:
        assert not asked()
        signal.raise_signal(number)
        assert asked()
    assert signal.getsignal(number) is before


def test_the_second_ctrl_c_ends_at_once():
    # A shell's background job inherits an ignored SIGINT; Python's own handler is what a terminal has.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with interruptible() as asked:
            signal.raise_signal(signal.SIGINT)
            assert asked()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_are_never_asked():
    answers = []

    def work():
        with interruptible() as asked:
            answers.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
