"""The pipes between supervisor and child."""

import sys
from multiprocessing.connection import wait

import pytest

from cifarsweep.spec.words import MetricRow
from cifarsweep.training import events
from cifarsweep.worker import protocol
from cifarsweep.worker.process import ChildProcess

ROW = events.Metrics((MetricRow("train/loss", 1, 0.5),))


@pytest.fixture
def child():
    """A child that says in one breath what is a reply and what is none, and then nothing."""
    words = protocol.encode(ROW) + b"Bus error\n"
    script = f"import sys, time; sys.stdout.buffer.write({words!r}); sys.stdout.flush(); time.sleep(600)"
    child = ChildProcess([sys.executable, "-c", script])
    yield child
    child.kill()


def test_what_came_before_garbage_is_heard(child: ChildProcess):
    wait([child.fileno()])
    replies = child.read()
    assert replies is not None

    assert next(replies) == ROW
    with pytest.raises(protocol.ProtocolError, match="Bus error"):
        next(replies)


def test_a_child_that_was_killed_is_not_killed_again(child: ChildProcess, monkeypatch: pytest.MonkeyPatch):
    child.kill()
    monkeypatch.setattr("os.killpg", lambda *_: pytest.fail("its number may be another's by now"))

    child.kill()
