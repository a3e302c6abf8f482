"""Ctrl-C held back: it strikes after the block, once, and never before."""

from __future__ import annotations

import signal
import threading

import pytest

from graft.interrupts import held


def test_ctrl_c_waits_for_the_end_of_the_block() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held():
        signal.raise_signal(signal.SIGINT)
        done.append("after the signal")
    assert done == ["after the signal"]
    with pytest.raises(KeyboardInterrupt):  # the handler is the old one again
        signal.raise_signal(signal.SIGINT)


def test_without_ctrl_c_nothing_is_raised_and_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with held():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_of_the_block_gives_way_to_the_interrupt_and_is_its_context() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, held():
        signal.raise_signal(signal.SIGINT)
        raise RuntimeError("made of it by others")
    assert isinstance(caught.value.__context__, RuntimeError)


def test_on_another_thread_it_changes_nothing() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def look() -> None:
        with held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]
