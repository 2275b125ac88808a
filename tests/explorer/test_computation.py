"""One computation at a time, and its end."""

import threading
import time

import pytest

from vesalius.explorer.computation import ComputationStopped, ExplorerBusy, SingleComputation


def forever(begun=None, swallow=False):
    """Python that never ends by itself, and takes every ordinary error for a reason to go on."""
    while True:
        try:
            if begun is not None:
                begun.set()
            sum(range(100))
        except Exception:
            pass


def in_background(computation, function):
    """What became of a computation that another thread waits for."""
    told = []

    def wait():
        try:
            told.append(computation.run(function))
        except Exception as error:
            told.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread, told


def test_results_and_errors_come_back():
    computation = SingleComputation(10)
    assert computation.run(lambda: 3) == 3

    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        computation.run(fail)
    assert computation.run(lambda: None) is None and not computation.cancel()


def test_a_second_one_is_refused_and_the_first_cancelled():
    computation, begun = SingleComputation(60), threading.Event()
    thread, told = in_background(computation, lambda: forever(begun))
    assert begun.wait(10)
    with pytest.raises(ExplorerBusy, match="another computation"):
        computation.run(lambda: 1)
    assert computation.cancel()
    thread.join(10)
    assert isinstance(told[0], ComputationStopped) and str(told[0]) == "cancelled"
    assert computation.run(lambda: 1) == 1


def test_one_that_takes_too_long_is_stopped():
    computation = SingleComputation(0.2)
    with pytest.raises(ComputationStopped, match=r"after 0\.2 seconds"):
        computation.run(forever)
    assert not [thread for thread in threading.enumerate() if thread.name == "vesalius-explorer"]


def test_a_stop_is_no_ordinary_error_and_ends_what_is_being_done():
    computation, begun, left = SingleComputation(60), threading.Event(), []

    def tidy():
        try:
            forever(begun)
        finally:
            left.append("tidied")

    thread, told = in_background(computation, tidy)
    assert begun.wait(10) and computation.cancel()
    thread.join(10)
    assert left == ["tidied"] and isinstance(told[0], ComputationStopped)


def test_what_is_done_is_not_taken_back():
    """A stop that comes after the end changes nothing, however often it comes."""
    computation = SingleComputation(60)
    for wait in (0.0, 0.0005, 0.001, 0.002):
        thread, told = in_background(computation, lambda wait=wait: time.sleep(wait) or 7)
        computation.cancel()
        thread.join(10)
        assert told[0] == 7 or isinstance(told[0], ComputationStopped)
