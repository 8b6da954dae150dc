"""The pipes between supervisor and child."""

import sys
from multiprocessing.connection import wait

import pytest

from cifarsweep.errors import DeviceError
from cifarsweep.spec.types import MetricRow
from cifarsweep.training import events
from cifarsweep.worker.child import main as child_main
from cifarsweep.worker.child import protocol
from cifarsweep.worker.child.process import ChildProcess, child_command, one_line
from cifarsweep.worker.child.trainer import DeviceTrainer

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


def test_how_a_child_ends_is_its_own_word_though_its_pipe_closes_first(monkeypatch):
    monkeypatch.setattr("cifarsweep.worker.child.process._LONGEST_END_S", 200.0)
    child = ChildProcess([sys.executable, "-c", "import os, time; os.close(1); time.sleep(0.3); os._exit(7)"])
    wait([child.fileno()])
    assert child.read() is None

    child.reap()

    assert child.exit_report() == "the training process ended by exit code 7"


def test_a_child_that_closes_its_pipe_and_stays_is_ended(monkeypatch):
    monkeypatch.setattr("cifarsweep.worker.child.process._LONGEST_END_S", 0.1)
    child = ChildProcess([sys.executable, "-c", "import os, time; os.close(1); time.sleep(600)"])
    wait([child.fileno()])

    child.reap()

    assert "SIGKILL" in child.exit_report()


def test_a_system_that_starts_no_more_processes_is_one_sentence(monkeypatch):
    def none_left(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", none_left)

    with pytest.raises(DeviceError, match="can't be started: Resource temporarily unavailable"):
        ChildProcess(["true"])


def test_a_child_that_was_killed_is_not_killed_again(child: ChildProcess, monkeypatch: pytest.MonkeyPatch):
    child.kill()
    monkeypatch.setattr("os.killpg", lambda *_: pytest.fail("its number may be another's by now"))

    child.kill()


@pytest.mark.parametrize("graphs", [True, False])
def test_a_child_that_is_told_to_trains_without_graphs(monkeypatch: pytest.MonkeyPatch, graphs: bool):
    taken: list[DeviceTrainer] = []
    monkeypatch.setattr(child_main, "serve", lambda train, *_: taken.append(train.__self__.trainer))
    monkeypatch.setattr(child_main, "take_stdout", lambda: None)
    monkeypatch.setattr(child_main, "RequestReader", lambda source: None)
    monkeypatch.setattr(sys, "argv", child_command("cpu", graphs=graphs)[2:])
    monkeypatch.setattr(child_main, "take_stdin", lambda: None)

    child_main.main()

    assert taken[0].graphs is graphs


@pytest.mark.skipif(sys.platform != "linux", reason="a limit as Linux keeps it")
def test_a_child_without_memory_for_torch_says_so():
    """The address space is enough for Python and not for torch's libraries."""
    limited = ["bash", "-c", 'ulimit -v 600000; exec "$@"', "-", *child_command("cpu")]
    child = ChildProcess(limited)
    wait([child.fileno()])
    (reply,) = child.read() or ()
    child.reap()

    assert isinstance(reply, protocol.DeviceUnavailable) and reply.for_now
    assert reply.reason.startswith("device cpu: there is no memory to start in: ")


def test_the_end_of_a_child_in_one_line():
    assert (
        one_line("ended by exit code 1\nTraceback:\n  MemoryError: torch\n")
        == "ended by exit code 1 (MemoryError: torch)"
    )
    assert one_line("ended by signal SIGKILL") == "ended by signal SIGKILL"
