"""People are told of events, by a real server on loopback and real commands; the training alone is make-believe."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import pytest
from support import worker
from support.listener import SECRET, Listener, listening
from support.worker import Notes

from cifarsweep.errors import DeviceError, SpecError
from cifarsweep.spec.reader import find, read_study
from cifarsweep.store import Store, notices
from cifarsweep.worker import notify, notify_targets
from cifarsweep.worker.notify import Notifier, _Teller, slack_text
from cifarsweep.worker.notify_targets import Address, Command, NotTold, parse_targets

few = pytest.mark.parametrize("study", [pytest.param(read_study(find("demo"), seeds=1), id="few")])


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as server:
        yield server


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "_PAUSES_S", (0.0, 0.0))
    # Who listens may be slow, and no thread goes on in the next test.
    monkeypatch.setattr(notify, "GRACE_S", 200.0)
    monkeypatch.setattr(notify_targets, "_ANSWER_S", 200.0)
    monkeypatch.setattr(notify_targets, "_COMMAND_S", 200.0)
    monkeypatch.delenv(notify_targets.VARIABLE, raising=False)


def test_the_end_of_a_study_is_told_once(store: Store, tmp_path: Path, listener: Listener) -> None:
    """Given a study, when two workers train it one after the other, then its end is told once."""
    targets = parse_targets([listener.url])

    for most in (5, None):
        assert worker.work(store, tmp_path, max_trials=most, notify=targets) == 0

    (event,) = listener.events()
    assert (event["schema"], event["event"], event["study"]) == ("event/1", "study-done", "demo")
    assert event["trials"]["done"] == 12 and event["text"].startswith("demo is over: 12 of 12 trials done. ")


def work_until_it_would_tell(url: str, folder: Path, target: str) -> None:
    """Train in this process, which dies at once where it would tell something."""
    _Teller._tell = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    with Store.open(url) as store:
        worker.work(store, folder, notify=parse_targets([target]))


@few
@pytest.mark.long
def test_the_end_of_a_study_is_told_though_its_worker_was_killed_first(
    store: Store, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a worker that is killed while it tells an end, when the next one with the same target
    starts and finds nothing to train, then that one tells it, once; one with another target does not."""
    killed = (f"sqlite:///{tmp_path}/test.db", tmp_path, listener.url)
    process = get_context("spawn").Process(target=work_until_it_would_tell, args=killed)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL and listener.events() == []
    monkeypatch.setattr(notices, "CLAIM_S", 0.0)

    with listening() as other:
        for target in (other.url, listener.url, listener.url):
            assert worker.work(store, tmp_path, notify=parse_targets([target])) == 0
        assert other.events() == []

    (event,) = listener.events()
    assert (event["event"], event["study"], event["trials"]["done"]) == ("study-done", "demo", 4)


def test_each_target_is_told(store: Store, tmp_path: Path, listener: Listener) -> None:
    """Given workers of two people with an address each, when both trained the study, then both hear of its end."""
    with listening() as other:
        assert worker.work(store, tmp_path, max_trials=1, notify=parse_targets([other.url])) == 0
        assert worker.work(store, tmp_path, notify=parse_targets([listener.url, other.url])) == 0

        assert len(other.events()) == len(listener.events()) == 1


@few
def test_an_address_that_hangs_keeps_nobody_else_waiting(
    store: Store, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an address that does not answer before another one has heard, when a worker ends, then both have heard."""
    with listening() as hanging:
        hanging.may_answer.clear()
        tell = Address.tell

        def told(target: Address, event: dict[str, object]) -> None:
            tell(target, event)
            if target.url == listener.url:
                hanging.may_answer.set()

        monkeypatch.setattr(Address, "tell", told)
        assert worker.work(store, tmp_path, notify=parse_targets([hanging.url, listener.url, listener.url])) == 0

        assert (
            [event["event"] for event in listener.events()]
            == ["study-done"]
            == [event["event"] for event in hanging.events()]
        )


@few
def test_a_worker_that_ends_before_an_answer_says_so(
    store: Store, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener.may_answer.clear()
    threads = threading.enumerate()
    monkeypatch.setattr(notify, "GRACE_S", 0.1)
    notes = Notes()

    assert worker.work(store, tmp_path, display=notes, notify=parse_targets([listener.url])) == 0

    (said,) = notes.notes_with("has not answered yet")
    assert said.startswith(f"http://127.0.0.1:{listener.server_port} has ") and SECRET not in said
    listener.may_answer.set()
    for thread in set(threading.enumerate()) - set(threads):
        if thread.name == "notify":
            thread.join()


@few
def test_trials_that_are_given_up_are_told(store: Store, tmp_path: Path, listener: Listener) -> None:
    assert worker.work(store, tmp_path, "raise", slots=4, notify=parse_targets([listener.url])) == 0

    # The end of the study may be told first: a failure is in the database before the slot tells it.
    *trials, study = sorted(listener.events(), key=lambda event: event["event"] == "study-done")
    assert {event["event"] for event in trials} == {"trial-given-up"} and "boom" in trials[0]["error"]
    assert sorted(event["trial"] for event in trials) == [0, 1, 2, 3]
    assert study["text"].startswith("demo is over: 0 of 4 trials done, 4 failed.")


def test_a_bad_machine_is_told_once_a_day(store: Store, tmp_path: Path, listener: Listener) -> None:
    for _ in range(2):
        with pytest.raises(DeviceError):
            worker.work(store, tmp_path, command=["no-such-program"], notify=parse_targets([listener.url]))

    (event,) = listener.events()
    assert event["event"] == "machine-bad" and "takes no more trials" in event["text"]


def test_many_workers_tell_one_end_once(store: Store, tmp_path: Path, listener: Listener) -> None:
    worker.work(store, tmp_path)
    notifiers = [Notifier(store, parse_targets([listener.url]), f"w{number}") for number in range(4)]

    with ExitStack() as open_ones:
        for each in notifiers:
            open_ones.enter_context(each).watch("demo")
            each.look()

    assert len(listener.events()) == 1


@few
@pytest.mark.parametrize("answer", [404, 500, 302])
def test_an_address_that_refuses_costs_a_line_without_its_secret(
    store: Store, tmp_path: Path, listener: Listener, answer: int
) -> None:
    listener.answer = answer
    notes = Notes()

    assert worker.work(store, tmp_path, display=notes, notify=parse_targets([listener.url])) == 0

    assert len(listener.events()) == 3
    (said,) = notes.notes_with("was not told")
    assert said == f"http://127.0.0.1:{listener.server_port} was not told of study-done: it answered {answer}"
    assert SECRET not in "".join(notes.notes)


def test_an_address_that_never_answers_is_left(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_targets, "_ANSWER_S", 0.1)
    listener.may_answer.clear()
    (target,) = parse_targets([listener.url])

    with pytest.raises(NotTold, match=r"no answer within 0\.1 s|timed out"):
        target.tell({})


def test_an_address_where_nobody_listens_is_said_without_its_secret(listener: Listener) -> None:
    (target,) = parse_targets([f"http://127.0.0.1:1/{SECRET}"])

    with pytest.raises(NotTold) as refused:
        target.tell({})

    assert "refused" in str(refused.value) and SECRET not in str(refused.value)


def test_a_name_and_a_password_go_into_a_header(listener: Listener) -> None:
    (target,) = parse_targets([listener.url.replace("//", f"//ann:{SECRET}@")])

    target.tell({"text": "x"})

    assert listener.heard.get(timeout=200)[0]["Authorization"].startswith("Basic ")
    assert SECRET not in repr(target) + target.shown


def test_a_command_reads_the_event_and_has_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFARSWEEP_NOTIFY", SECRET)
    script = "import os, sys; open(sys.argv[1], 'w').write(sys.stdin.read() + str('CIFARSWEEP_NOTIFY' in os.environ))"
    (target,) = parse_targets([f'{sys.executable} -c "{script}" {tmp_path}/heard'])

    target.tell({"text": "done"})

    assert (tmp_path / "heard").read_text() == '{"text": "done"}\nFalse'


def test_a_command_that_fails_or_hangs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotTold, match="exit code 3"):
        Command(["sh", "-c", "exit 3"]).tell({})
    monkeypatch.setattr(notify_targets, "_COMMAND_S", 0.2)
    with pytest.raises(NotTold, match="did not end"):
        Command(["sleep", "3600"]).tell({})


@pytest.mark.parametrize(
    "given",
    [
        f"ftp://host/{SECRET}",
        f"https:///{SECRET}",
        f"https://host/{SECRET} more",
        f"https://host:port/{SECRET}",
        f"no-such-command-here {SECRET}",
        f"'{SECRET}",
    ],
)
def test_what_is_no_target_is_refused_without_its_secret(given: str) -> None:
    with pytest.raises(SpecError, match="--notify") as refused:
        parse_targets([given])

    assert SECRET not in str(refused.value)


def test_the_variable_has_one_a_line_and_the_option_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(notify_targets.VARIABLE, "https://a.example/x\n\nsh -c 'cat > /dev/null'\n")

    first, second = parse_targets(None)
    (given,) = parse_targets(["https://b.example"])

    assert isinstance(first, Address) and first.shown == "https://a.example" and isinstance(second, Command)
    assert given.shown == "https://b.example"


def test_a_name_calls_nobody_in_slack() -> None:
    assert slack_text("<!channel> & co") == "&lt;!channel&gt; &amp; co"


def test_without_targets_there_is_no_thread(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    with Notifier(store, [], "w") as notifier:
        notifier.watch("demo")
        notifier.on_bad_machine("x")
        notifier.look()

    assert not notifier._tellers and not caplog.records
