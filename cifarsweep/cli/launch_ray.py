"""`launch --ray`: workers as actors on a cluster of Ray."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cifarsweep.cli.launch_hosts import arguments_of_launcher, environment_of_launcher
from cifarsweep.cli.launch_screen import screen_of
from cifarsweep.cli.launch_work import Work, check_work, workers_of_job
from cifarsweep.cli.options import end
from cifarsweep.cli.worker import parse_slots
from cifarsweep.errors import SpecError, TooFewGpus
from cifarsweep.text import quoted

if TYPE_CHECKING:
    from cifarsweep.spec.study import Study
    from cifarsweep.store import Store
    from cifarsweep.worker.launch.ray_queue import FollowedQueue

_SIZE = re.compile(r"([1-9][0-9]{0,8})([KMGT])(i?B)?")
_POWERS = {"K": 10, "M": 20, "G": 30, "T": 40}


def parse_memory(text: str | None) -> int | None:
    """Return the bytes of a size such as 32G; 1G is 2**30. Raises SpecError for what is none."""
    if text is None:
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise SpecError(f"--mem {quoted(text)}: is no size; write it as 32G")
    return int(found[1]) << _POWERS[found[2]]


def run_on_ray(work: Work, address: str, workers: int | None, given: Mapping[str, Any]) -> NoReturn:
    """Start workers on the cluster, show what they say, and exit with the highest of their codes.

    `workers` is None for as many as the queue calls for; `given` has the parameters of `launch`. The database is that
    of $CIFARSWEEP_DB. Raises SpecError for one that only this machine has.
    """
    from cifarsweep.store import Store
    from cifarsweep.worker.launch.ray import Place, RayGroup
    from cifarsweep.worker.launch.ray_actor import LOGS, Order
    from cifarsweep.worker.launch.ray_connection import cluster, parse_address

    gpus = given["gpus_per_worker"]
    place = Place(gpus, given["cpus_per_worker"] or max(1, gpus), parse_memory(given["mem"]))
    parse_address(address)
    runtime_env = _runtime_env(given["runtime_env"])
    members = workers_of_job(work, gpus)
    db = os.environ["CIFARSWEEP_DB"] = _whole(os.environ["CIFARSWEEP_DB"])
    check_work(work, db)
    devices = f"--gpus={','.join(map(str, range(gpus)))}" if gpus else "--cpus=1"
    # Where workers follow the queue, the launcher waits for it, and none stays for what others train.
    sent = _with_whole_paths(work, "working_dir" in runtime_env)
    arguments = arguments_of_launcher(sent if workers else replace(sent, wait=False, while_queued=True), devices)
    launcher = ("-m", "cifarsweep.cli", "launch", "--until-eof", f"--logs={LOGS}")
    order = Order((*launcher, *arguments), environment_of_launcher())
    names = [f"worker{number}" for number in range(workers or 0)]
    with cluster(address, runtime_env) as ray, Store.open(db) as store:
        _check_database(ray, db)
        at_once = len(members) * (parse_slots(work.slots) or 1)
        wanted = workers or _queue(
            store, work, (work.gpus_per_trial or 1) if gpus else None, at_once, given["max_workers"]
        )
        title = f"{workers or 'workers as the queue calls for them'}{' workers' * bool(workers)} on {address}"
        prefix = f"{members[0].name} | " if len(members) == 1 else ""
        with screen_of(names, f"{title}; Ray's logs have their full output") as say:
            code = RayGroup(
                ray, place, order, wanted, lambda name, line: say(name, line.removeprefix(prefix)), wait=work.wait
            ).run()
    end(code)


def _queue(store: Store, work: Work, gpus: int | None, at_once: int, most: int) -> FollowedQueue:
    """The queue of what workers take that train each trial on so many GPUs, or on a processor."""
    from cifarsweep.worker.gpus_here import GpusHere
    from cifarsweep.worker.launch.ray_queue import FollowedQueue, open_trials
    from cifarsweep.worker.programs_here import ProgramsHere, parse_programs

    programs, here = ProgramsHere(parse_programs(work.program)), GpusHere(gpus)

    def concerns(study: Study) -> bool:
        if bool(study.program) != bool(work.program) or not programs.concern(study):
            return False
        try:
            here.check(study)
        except TooFewGpus:
            return False
        return True

    return FollowedQueue(lambda: open_trials(store, work.study, concerns), at_once=at_once, most=most)


def _runtime_env(file: Path | None) -> dict[str, Any]:
    """The fields of a YAML file, which JSON is too. Raises SpecError."""
    from cifarsweep.worker.launch.ray_connection import checked_runtime_env

    if file is None:
        return {}
    try:
        import yaml

        given = yaml.safe_load(file.read_text())
    except ModuleNotFoundError:
        given = {}  # without Ray there is no YAML either, which the next line says
    except OSError as error:
        raise SpecError(f"--runtime-env {file}: can't be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise SpecError(f"--runtime-env {file}: can't be read as YAML: {_reason(error)}") from None
    return checked_runtime_env(given, f"--runtime-env {file}")


def _reason(error: Exception) -> str:
    """Why a file is no YAML, and in which line where that is known."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return where + str(getattr(error, "problem", None) or error).splitlines()[0]


def _with_whole_paths(work: Work, uploaded: bool) -> Work:
    """The same with paths that mean the same on every node, unless Ray uploads the folder that they begin in."""
    from cifarsweep.checkpoints.location import parse_location
    from cifarsweep.worker.code_here import parse_sources
    from cifarsweep.worker.programs_here import parse_programs

    if work.artifacts:
        work = replace(work, artifacts=parse_location(work.artifacts))
    if uploaded:
        return work
    return replace(work, code=parse_sources(work.code), program=[str(file) for file in parse_programs(work.program)])


def _whole(db: str) -> str:
    """The URL; of an SQLite file with its whole path."""
    from cifarsweep.store.url import parse_url

    url = parse_url(db)
    if url.get_backend_name() != "sqlite" or not url.database:
        return db
    return url.set(database=str(Path(url.database).resolve())).render_as_string(hide_password=False)


def _check_database(ray: Any, db: str) -> None:
    from cifarsweep.worker.launch.ray_connection import other_hosts

    if db.startswith("sqlite") and (others := other_hosts(ray)):
        raise SpecError(
            f"--ray: the cluster has other machines than this one, as {others[0]}, which can't share an SQLite file; "
            "give a --db on PostgreSQL"
        )
