"""The way to a cluster of Ray: its address, the workers' runtime environment, and the package that speaks to it."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cifarsweep.environment import without_database
from cifarsweep.errors import CifarsweepError, SpecError, install_command
from cifarsweep.text import one_line, quoted

_ADDRESS = re.compile(r"auto|(?P<scheme>ray://)?(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})")
_NEEDS_RAY = "--ray needs one more package: {}"
_PORTS = "`ray status` says whether it runs; its own machines take HOST:6379, others ray://HOST:10001"
#: Ray itself tries for minutes, and says so in lines of its own.
_LONGEST_CONNECTION_S = 15.0


def parse_address(text: str) -> str:
    """Return the address of a cluster. Raises SpecError for what is none."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"] or 0) > 65_535:
        raise SpecError(f"--ray {quoted(text)}: is no cluster; write auto, HOST:6379 or ray://HOST:10001")
    return text


def checked_runtime_env(given: Any, file: str) -> dict[str, Any]:
    """Return a runtime environment. Raises SpecError for what Ray would not take, and for a database in it."""
    environment = _import_ray().runtime_env.RuntimeEnv
    if not isinstance(given, dict):
        raise SpecError(f"{file}: is no runtime environment of Ray; it needs fields such as pip or working_dir")
    for name in given:
        if name not in environment.known_fields or str(name).startswith("_"):
            raise SpecError(f"{file}: {quoted(str(name))} is no field of a runtime environment of Ray")
    try:
        checked = environment(**given)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{file}: {_first_line(error)}") from None
    variables = dict(checked.get("env_vars") or {})
    if hidden := sorted(variables.keys() - without_database(variables).keys()):
        raise SpecError(
            f"{file}: env_vars.{hidden[0]}: everybody who lists a cluster's actors can read it there; workers are told "
            "of the database by `launch` itself, so leave it out"
        )
    return dict(given)


@contextmanager
def cluster(address: str, runtime_env: Mapping[str, Any]) -> Iterator[Any]:
    """Connect to a cluster; yields the module `ray`. Raises CifarsweepError where none answers or fits."""
    ray = _import_ray()
    found = _ADDRESS.fullmatch(address)
    try:
        if found is not None and found["host"]:
            _check_server(found["host"], found["port"])
        ray.init(address, runtime_env=dict(runtime_env), log_to_driver=False, logging_level=logging.ERROR)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise CifarsweepError(f"--ray {address}: {_reason(error)}; {_PORTS}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def other_hosts(ray: Any) -> list[str]:
    """Return the names of the cluster's machines that are not this one."""
    names = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    return sorted(names - {socket.gethostname()})


def _check_server(host: str, port: str) -> None:
    """Raise OSError if nothing answers there, or something that speaks no gRPC: Ray would wait for minutes."""
    import grpc

    socket.create_connection((host.strip("[]"), int(port)), _LONGEST_CONNECTION_S).close()
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(_LONGEST_CONNECTION_S)
        except grpc.FutureTimeoutError:
            raise ConnectionError("what answers there is not Ray") from None


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
        import ray.runtime_env
    except ModuleNotFoundError:
        raise CifarsweepError(_NEEDS_RAY.format(install_command("ray"))) from None
    return ray


def _first_line(error: BaseException) -> str:
    return _lines(error)[0]


def _reason(error: BaseException) -> str:
    """Return the first line, of the system without its number; where that only announces others, the last one too."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = _lines(error)
    return f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]


def _lines(error: BaseException) -> list[str]:
    return [one_line(line) for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
