"""Workers as actors of a real Ray of two nodes, one of which is lost, and of a pretended one."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as some
import psutil
import pytest
import ray_cluster
from hypothesis import given
from support import worker
from support.program_child import write_program
from support.waiting import wait_for

from cifarsweep.errors import CifarsweepError, SpecError, StoreUnavailable
from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.worker.launch import ray_actor, ray_connection
from cifarsweep.worker.launch.local import Backoff
from cifarsweep.worker.launch.ray import Place, RayGroup
from cifarsweep.worker.launch.ray_actor import LOGS, News, Order, RayWorker
from cifarsweep.worker.launch.ray_connection import checked_runtime_env, parse_address
from cifarsweep.worker.launch.ray_queue import FollowedQueue, OpenTrials, open_trials

#: As `launch --ray`, with launchers of the test, and with actors that count as lost after so long.
DRIVER = """
import json, sys
from cifarsweep.worker.launch import ray as ours
from cifarsweep.worker.launch.ray_actor import Order
from cifarsweep.worker.launch.ray_connection import cluster
address, workers, arguments, environment, ours._LONGEST_ANSWER_S = json.loads(sys.argv[1])
with cluster(address, {}) as ray:
    group = ours.RayGroup(ray, ours.Place(0, 1), Order(arguments, environment), workers,
                          lambda name, line: print(name, "|", line, flush=True))
    code = group.run()
sys.exit(code)
"""

PROGRAM = """
import cifarsweep, os
cifarsweep.trial().log(1, {"val/accuracy": float(os.environ["ACCURACY"])})
"""


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ray_cluster.RayCluster]:
    with ray_cluster.cluster(tmp_path_factory.mktemp("ray") / "log") as running:
        yield running


class Driver:
    """A launch of two workers on the cluster, whose trials are held until the test lets go."""

    def __init__(self, address: str, url: str, folder: Path, lost_after_s: float) -> None:
        self._hold = folder / "hold"
        self._hold.touch()
        self._output = folder / "output"
        self.url, self.folder = url, folder
        # Of the command the actor knows the program, which is Python on its node.
        _, *arguments = worker.command(url, folder, "held", "launch", workers=1, until_eof=True, logs=LOGS)
        environment = {"CIFARSWEEP_LEASE": str(lost_after_s / 2), "CIFARSWEEP_BEAT": "1"}
        given = json.dumps([address, 2, arguments, environment, lost_after_s])
        with self._output.open("wb") as output:
            self.process = subprocess.Popen([sys.executable, "-c", DRIVER, given], stdout=output, stderr=output)

    @property
    def said(self) -> str:
        return self._output.read_text()

    def until(self, condition: Callable[[], object]) -> None:
        wait_for(lambda: condition() or self.process.poll() is not None, what=lambda: self.said)
        assert condition(), self.said

    def until_both_train(self) -> None:
        """Wait until both workers have a trial, and the launch knows where they are."""
        self.until(lambda: self.count(TrialState.LEASED) == 2 and self.said.count(" | runs on ") >= 2)

    def let_go(self) -> None:
        self._hold.unlink()

    def count(self, state: TrialState) -> int:
        with Store.open(self.url, read_only=True) as store:
            return store.studies.status("demo")[0].trials[state]

    def ends(self) -> list[AttemptEnd]:
        """How the attempts ended so far."""
        with Store.open(self.url, read_only=True) as store:
            attempts = [attempt for trial in store.trials.all("demo") for attempt in trial.attempts]
        return [attempt.end for attempt in attempts if attempt.end]

    def processes(self) -> list[psutil.Process]:
        """The launchers, workers and children that work in the folder."""
        found = psutil.process_iter(["cmdline"])
        ours = (each for each in found if each.pid != self.process.pid)
        return [each for each in ours if str(self.folder) in " ".join(each.info["cmdline"] or ())]


@pytest.fixture
def lost_after_s() -> float:
    """When an actor counts as lost; its lease runs out in half the time. No pause of a machine is so long."""
    return 300.0


@pytest.fixture
def driver(
    two_nodes, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost_after_s: float
) -> Iterator[Driver]:
    for name, value in ray_cluster.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    driver = Driver(two_nodes.address, url, tmp_path, lost_after_s)
    yield driver
    driver.process.kill()
    driver.process.wait()
    for process in driver.processes():
        process.kill()


def ray_actor_of(driver: Driver) -> psutil.Process:
    """An actor whose launcher works in the driver's folder."""
    launchers = [each for each in driver.processes() if "launch" in each.cmdline()]
    return next(parent for each in launchers if (parent := each.parent()) is not None)


@pytest.mark.long
def test_workers_follow_the_queue_in_the_environment_of_a_file(two_nodes, tmp_path: Path):
    # given
    project = tmp_path / "project"
    write_program(project, PROGRAM)
    (project / "env.json").write_text(json.dumps({"working_dir": ".", "env_vars": {"ACCURACY": "0.75"}}))
    environment = os.environ | ray_cluster.ENVIRONMENT | {"CIFARSWEEP_DB": f"sqlite:///{tmp_path}/own.db"}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cifarsweep.cli", *arguments]
        return subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=240, check=False
        )

    # when
    created = call("create", "own.toml")
    ray = ["--ray", two_nodes.address, "--workers", "auto", "--max-workers", "1", "--gpus-per-worker", "0"]
    launched = call("launch", *ray, "--runtime-env", "env.json", "--program", "own.toml")

    # then
    assert created.returncode == launched.returncode == 0, launched.stdout + launched.stderr
    assert launched.stdout.count("runs on") == 1 and "own/0 width=1, seed 0: finished" in launched.stdout
    said = [path.read_bytes() for path in two_nodes.folder.glob("session_*/logs/**/*") if path.is_file()]
    assert any(b"own/0" in text for text in said) and not any(b"own.db" in text for text in said)
    with Store.open(environment["CIFARSWEEP_DB"], read_only=True) as store:
        assert {trial.final["val/accuracy"] for trial in store.trials.all("own")} == {0.75}


@pytest.mark.long
@pytest.mark.parametrize("lost_after_s", [pytest.param(12.0, id="soon")])
def test_a_lost_node_s_trials_go_on_elsewhere_and_its_worker_on_the_next_node(driver: Driver, two_nodes):
    # given
    driver.until_both_train()

    # when
    two_nodes.ask("lose")
    driver.until(lambda: "does not answer any more on" in driver.said)
    two_nodes.ask("add")
    driver.until(lambda: AttemptEnd.TAKEN_OVER in driver.ends())
    driver.until(lambda: driver.count(TrialState.LEASED) == 2)
    driver.let_go()

    # then
    assert driver.process.wait(200) == 0, driver.said
    assert "waits for a node with 1 CPU" in driver.said and driver.said.count(" | runs on ") >= 3
    assert driver.ends().count(AttemptEnd.DONE) == worker.TRIALS
    with Store.open(driver.url) as store:
        worker.assert_everything_is_there_once(store)
    wait_for(lambda: not driver.processes())


@pytest.mark.long
def test_an_actor_that_is_asked_to_end_or_killed_gives_its_trial_back_and_is_placed_again(driver: Driver):
    driver.until_both_train()

    for times, number in enumerate((signal.SIGTERM, signal.SIGKILL), 1):
        ray_actor_of(driver).send_signal(number)
        driver.until(lambda times=times: driver.ends().count(AttemptEnd.RELEASED) == times)
        driver.until(lambda: driver.count(TrialState.LEASED) == 2)
    driver.let_go()

    assert driver.process.wait(200) == 0, driver.said
    assert sorted(set(driver.ends())) == [AttemptEnd.DONE, AttemptEnd.RELEASED]
    with Store.open(driver.url) as store:
        worker.assert_everything_is_there_once(store)


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_when_the_launch_ends_all_trials_are_given_back_and_nothing_is_left(driver: Driver, number, code):
    driver.until_both_train()

    driver.process.send_signal(number)

    assert driver.process.wait(200) == code, driver.said
    wait_for(lambda: not driver.processes(), what=lambda: driver.said)
    assert driver.ends() == [AttemptEnd.RELEASED] * 2 and driver.count(TrialState.QUEUED) == worker.TRIALS


@pytest.mark.long
def test_a_node_that_is_to_go_soon_gives_its_trial_back_before(driver: Driver, two_nodes):
    driver.until_both_train()

    two_nodes.ask("drain")

    driver.until(lambda: driver.ends() == [AttemptEnd.RELEASED])
    driver.let_go()
    assert driver.process.wait(200) == 0, driver.said
    assert driver.ends().count(AttemptEnd.DONE) == worker.TRIALS and AttemptEnd.TAKEN_OVER not in driver.ends()


ONE_GPU = Place(1, 1)
#: What an actor says or raises, or what makes it.
Laid = News | Exception | Callable[[], News]


class Answer:
    """What an actor will say, if anything."""

    def __init__(self, laid_out: list[Laid]) -> None:
        self.laid_out = laid_out


class PretendedRay:
    """A Ray whose actors answer what the test has laid out for each, and nothing more; notes what it is asked to do."""

    class exceptions:  # noqa: N801 - a module of Ray
        RayError = type("RayError", (Exception,), {})
        ActorUnavailableError = type("ActorUnavailableError", (RayError,), {})
        ActorDiedError = type("ActorDiedError", (RayError,), {"actor_init_failed": False})

    def __init__(self, *answers: list[Laid], node: dict[str, float] | None = None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self._node = {"GPU": 1.0, "CPU": 1.0} if node is None else node

    def nodes(self) -> list[dict[str, Any]]:
        lost = {"Alive": False, "Resources": {"GPU": 8.0, "CPU": 64.0, "memory": 2.0**40}}
        return [lost, {"Alive": True, "Resources": self._node}]

    def remote(self, _actor: type) -> Any:
        mine = self.answers.pop(0) if self.answers else []
        listen = SimpleNamespace(remote=lambda order: Answer(mine))
        handle = SimpleNamespace(listen=listen, stop=SimpleNamespace(remote=lambda: self.asked.append("stop")))
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda: handle))

    def wait(self, answers: list[Answer], num_returns: int, timeout: float) -> tuple[list[Answer], list[Answer]]:
        ready = [each for each in answers if each.laid_out]
        return ready, [each for each in answers if not each.laid_out]

    def get(self, answer: Answer) -> News:
        found = answer.laid_out.pop(0)
        if isinstance(found, Exception):
            raise found
        return found() if callable(found) else found

    def kill(self, _handle: object) -> None:
        self.asked.append("kill")


def ended(code: int, *lines: str) -> News:
    return News("node", lines, code)


def interrupted(code: int | None = None) -> News:
    """What an actor says at the moment of Ctrl-C."""
    signal.raise_signal(signal.SIGINT)
    return News("node", (), code)


def launched(
    ray: PretendedRay, workers: int | FollowedQueue = 1, *, place: Place = ONE_GPU, pause_s: float = 0.0
) -> tuple[int, list[str]]:
    """Run a group on a pretended Ray; its exit code and what it said."""
    said: list[str] = []
    order = Order((), {"CIFARSWEEP_DB": "postgresql://me:hidden@db/x"})
    backoff = Backoff(first_s=pause_s, longest_s=pause_s, max_crashes=3)
    code = RayGroup(ray, place, order, workers, lambda *line: said.append(" | ".join(line)), backoff=backoff).run()
    assert "hidden" not in str(order)
    return code, said


@pytest.mark.parametrize(
    ("answers", "code", "starts"),
    [
        ([ended(0)], 0, 1),
        ([ended(2)], 2, 1),
        ([ended(70)], 70, 1),
        ([ended(1)], 1, 1),
        ([ended(75)] * 5 + [ended(0)], 0, 6),
        ([ended(143), ended(137), ended(0)], 0, 3),
        ([ended(137)] * 4, 137, 3),
        ([PretendedRay.exceptions.ActorUnavailableError("moved"), ended(0)], 0, 1),
        ([PretendedRay.exceptions.ActorDiedError("worker\nkilled by `ray.kill`")], 137, 1),
        ([PretendedRay.exceptions.RayError("no module\nnamed cifarsweep")], 2, 1),
    ],
)
def test_a_worker_starts_again_where_that_helps(answers, code, starts):
    laid_out = list(answers)

    found, said = launched(PretendedRay(laid_out))

    assert found == code
    assert sum("starts again" in line for line in said) == starts - 1


def test_on_ctrl_c_a_worker_that_has_said_nothing_but_its_node_is_asked_to_end():
    ray = PretendedRay([interrupted, ended(143, "gives its trial back")], [])

    code, said = launched(ray, workers=2)

    assert code == 130 and ray.asked == ["stop", "kill", "kill"]
    assert said[1:] == [
        "worker1 | ended without a node",
        *(f"worker0 | {line}" for line in ("gives its trial back", "ended, exit code 143")),
    ]


def test_on_ctrl_c_a_worker_that_is_to_start_again_later_is_not_called_one_without_a_node():
    code, said = launched(PretendedRay([lambda: interrupted(75)]), pause_s=600.0)

    assert code == 130 and said[-1] == "worker0 | ended before it started again"


def test_an_actor_tells_its_node_before_its_launcher_says_anything(monkeypatch: pytest.MonkeyPatch):
    # given
    monkeypatch.setattr(ray_actor, "_LONGEST_SILENCE_S", 600.0)
    # There is no Ray that could say it, and to import it takes seconds.
    monkeypatch.setattr(ray_actor, "_is_drained", lambda: False)
    with ThreadPoolExecutor() as threads:  # as Ray does, which leaves signals to the main thread
        actor = threads.submit(RayWorker).result()
    order = Order(("-c", "import time; time.sleep(600)"), {})

    # when
    first = actor.listen(order)
    actor.stop()
    second, third = actor.listen(order), actor.listen(order)

    # then
    assert first == News(socket.gethostname(), ())
    assert second == third == News(socket.gethostname(), (), 143)


@pytest.mark.parametrize(
    ("node", "place", "why"),
    [
        ({"CPU": 4.0}, Place(1, 1), "; no node of the cluster has a GPU. Unless it brings up one that has, start with"),
        ({"CPU": 4.0, "GPU": 1.0}, Place(2, 2), "; no node of the cluster has as much. Unless"),
        ({"CPU": 4.0, "memory": 2.0**30}, Place(0, 1, 2**31), "; no node of the cluster has as much. Unless"),
        ({}, Place(0, 1), "; no node of the cluster has as much. Unless"),
    ],
)
def test_workers_that_no_node_can_take_say_so_at_once(node, place, why):
    ray = PretendedRay([lambda: ended(0)], node=node)

    assert f"worker0 | waits for a node with {place}{why}" in launched(ray, place=place)[1][0]


def test_workers_without_a_node_are_not_waited_for_once_nothing_is_left_to_do():
    ray = PretendedRay([News("node", ("trains",)), ended(0, "all done")], [], [])

    code, said = launched(ray, workers=3)

    assert code == 0 and ray.asked == ["kill"] * 3
    assert said[:3] == ["worker0 | runs on node", "worker0 | trains", "worker0 | all done"]
    assert said[3:] == [f"worker{number} | has no node, and nothing is left to do" for number in (1, 2)]


def test_as_many_workers_as_the_queue_calls_for_and_none_where_there_is_none():
    left = [5, 5, 0]
    queue = FollowedQueue(lambda: OpenTrials(left.pop(0) if left else 0, 0), at_once=2, most=2)
    ray = PretendedRay([ended(0)], [ended(0)])

    assert launched(ray, queue)[0] == 0 and ray.asked == ["kill"] * 2 and ray.answers == []
    assert launched(PretendedRay(), FollowedQueue(lambda: OpenTrials(0, 3), at_once=1, most=9)) == (0, [])


@given(
    some.lists(
        some.tuples(some.integers(0, 50), some.integers(0, 50), some.integers(0, 9), some.sampled_from([None, 0, 2])),
        max_size=20,
    )
)
def test_a_queue_never_calls_for_more_workers_than_it_has_trials_or_than_are_allowed(steps):
    now, found, refused = 0.0, OpenTrials(0, 0), 0
    queue = FollowedQueue(lambda: found, at_once=3, most=5, clock=lambda: now)
    for queued, under_way, there, code in steps:
        now, found = now + 5.0, OpenTrials(queued, under_way)
        wanted = queue.wanted(there)
        assert 0 <= wanted <= min(max(0, 5 - refused), -(-(queued + under_way) // 3), there + -(-queued // 3))
        if code is not None:
            queue.on_end(code)
            refused += code != 0


def test_trials_that_a_worker_left_behind_call_for_none_until_more_come_or_some_time_has_passed():
    now, queued = 0.0, 4
    queue = FollowedQueue(lambda: OpenTrials(queued, 1), at_once=1, most=9, clock=lambda: now)
    assert queue.wanted(1) == 5

    queue.on_end(0)
    assert queue.wanted(0) == 0 and queue.wanted(1) == 1

    now, queued = 5.0, 6
    assert queue.wanted(1) == 3
    now = 10.0
    assert queue.wanted(1) == 7


def test_a_queue_that_can_not_be_asked_calls_for_as_many_as_before():
    answers: list[int | None] = [3, None, 1, 2]
    # A look takes no time, but for the last one.
    times = iter((0.0, 0.0, 4.0, 5.0, 5.0, 10.0, 12.0, 29.9, 30.0, 30.0))

    def count() -> OpenTrials:
        if (found := answers.pop(0)) is None:
            raise StoreUnavailable("away")
        return OpenTrials(found, 0)

    queue = FollowedQueue(count, at_once=1, most=9, clock=lambda: next(times))
    assert [queue.wanted(0) for _ in range(4)] == [3, 3, 3, 1]
    assert [queue.wanted(0) for _ in range(2)] == [1, 2], "nine times as long after it as it took"


def test_trials_that_are_paused_or_of_no_concern_are_not_waited_for(url: str):
    with Store.open(url) as store:
        everything = open_trials(store, (), lambda study: True)
        nothing = open_trials(store, ("demo",), lambda study: study.name != "demo")
        store.control.pause("demo")
        paused = open_trials(store, (), lambda study: True)

    assert (everything, nothing, paused) == (OpenTrials(worker.TRIALS, 0), OpenTrials(0, 0), OpenTrials(0, 0))


@pytest.mark.parametrize("text", ["auto", "head:6379", "10.0.0.1:6379", "ray://head.example:10001", "[::1]:6379"])
def test_addresses_of_clusters(text):
    assert parse_address(text) == text


@pytest.mark.parametrize("text", ["", "local", "head", "http://head:1", "head:99999", "ray://head", "a b:1", "-x:1\n"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(SpecError, match="is no cluster; write auto, HOST:6379 or ray://HOST:10001"):
        parse_address(text)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["pip"], "is no runtime environment"),
        ({"pipp": ["a"]}, "'pipp' is no field"),
        ({"pip": 3}, "must be of type"),
        ({"env_vars": {"CIFARSWEEP_DB": "x"}}, "env_vars.CIFARSWEEP_DB: everybody who lists"),
        ({"env_vars": {"A": "postgresql://me:hidden@db/x"}}, "env_vars.A: everybody who lists"),
    ],
)
def test_a_runtime_environment_that_ray_would_refuse_or_that_tells_secrets(given, sentence):
    with pytest.raises(SpecError, match=sentence) as caught:
        checked_runtime_env(given, "--runtime-env f")

    assert "hidden" not in str(caught.value)
    assert checked_runtime_env({"env_vars": {"A": "b"}}, "f") == {"env_vars": {"A": "b"}}


def test_without_ray_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(CifarsweepError, match=r"--ray needs one more package: pip install '?ray"):
        checked_runtime_env({}, "f")


def test_a_port_of_something_else_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ray_connection, "_LONGEST_CONNECTION_S", 0.2)

    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(CifarsweepError, match=r"what answers there is not Ray.*ray://HOST:10001"),
        ray_connection.cluster(f"127.0.0.1:{server.getsockname()[1]}", {}),
    ):
        pass


def test_a_reason_that_stands_below_its_headline_is_said():
    assert ray_connection._reason(ConnectionError("Failed on the server:\n\nKeyError: 'x'\n")).endswith("KeyError: 'x'")
    assert ray_connection._reason(ConnectionError("refused\nmore")) == "refused"
    assert ray_connection._reason(ConnectionRefusedError(111, "Connection refused")) == "Connection refused"
