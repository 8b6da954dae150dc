"""Workers as a Job of Kubernetes: the manifest that `kubectl apply -f -` takes.

It is JSON, which is YAML too: kubectl reads both, and no package is needed that knows what YAML wants quoted.
Pods are placed, started again and counted by Kubernetes alone. The database's URL stays in a Secret.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cifarsweep.errors import SpecError, StoreUnavailable
from cifarsweep.text import quoted
from cifarsweep.worker.signals import INTERACTIVE_SIGNALS
from cifarsweep.worker.supervisor import EXIT_FAULTY_HOST

#: Where a claim is mounted: the working directory of our image, with the folder of its data sets.
SHARED_FOLDER = PurePosixPath("/var/lib/cifarsweep")
#: How long a pod may take to stop; workers need at most 45 s. Seconds.
GRACE_S = 90
#: Crashes of a worker after which Kubernetes gives its index up, as many as `launch` allows one in a row.
_MOST_CRASHES = 8
#: Refused: the same command will be refused again. A bad machine: what runs on the others is not its concern.
_FAIL_CODES = [SpecError.exit_code, EXIT_FAULTY_HOST]
#: The database is away, or somebody asked for the end: neither is a crash.
_RETRY_CODES = [StoreUnavailable.exit_code, *(128 + number for number in INTERACTIVE_SIGNALS)]
#: A user that is not root, the one of our image.
_USER = 1000
#: What processes of one trial share; it counts as the memory that they use.
_SHARED_MEMORY = "2Gi"
_CPUS, _MEMORY = 2, "4Gi"

# Names of objects: RFC 1123, as kubernetes.io/docs/concepts/overview/working-with-objects/names has it.
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_LABEL, _LONGEST_SUBDOMAIN = 63, 253
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")
#: Bytes only where there are a million of them: whoever writes 32 means another unit, and no worker lives in 32 bytes.
_SIZE = re.compile(r"[1-9][0-9]{6,14}|[1-9][0-9]{0,11}(\.[0-9]{1,3})?([KMGTP]i|[kMGTP])")
#: A name of packages, with dots, as `--code` takes it.
_PACKAGE = re.compile(r"[A-Za-z_][\w.-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """Workers, each a pod of its own, and what every one of them gets. Raises SpecError for what no cluster takes.

    `arguments` are those of each worker; `gpus` 0 trains on the processor. `secret` has CIFARSWEEP_DB, the database's
    URL, and any other variables that workers are to have; `claim` is a volume that all pods mount.
    """

    name: str
    image: str
    arguments: tuple[str, ...]
    workers: int = 1
    gpus: int = 1
    gpus_per_trial: int = 1
    cpus: int | None = None
    memory: str | None = None
    namespace: str | None = None
    secret: str = "cifarsweep"
    claim: str | None = None

    def __post_init__(self) -> None:
        # The name of a pod's host is a label too, and ends in the worker's number.
        longest = _LONGEST_LABEL - len(f"-{self.workers - 1}")
        _check("--name", self.name, _LABEL, longest, "small letters, digits and dashes")
        if self.namespace is not None:
            _check("--namespace", self.namespace, _LABEL, _LONGEST_LABEL, "small letters, digits and dashes")
        for option, name in (("--secret", self.secret), ("--claim", self.claim)):
            if name is not None:
                _check(option, name, _SUBDOMAIN, _LONGEST_SUBDOMAIN, "small letters, digits, dashes and dots")
        if not _IMAGE.fullmatch(self.image):
            raise SpecError(f"--image {quoted(self.image)}: is no image; write it as registry.example/cifarsweep:1")
        if self.memory is not None and not _SIZE.fullmatch(self.memory):
            raise SpecError(f"--mem {quoted(self.memory)}: is no size of Kubernetes; write it as 32Gi")

    def manifest(self) -> dict[str, Any]:
        """Return the Job. It needs Kubernetes 1.29 or newer, which counts crashes per index."""
        labels = {"app.kubernetes.io/name": "cifarsweep", "app.kubernetes.io/component": "worker"}
        place = {} if self.namespace is None else {"namespace": self.namespace}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": self.name, **place, "labels": labels},
            "spec": {
                "completionMode": "Indexed",
                "completions": self.workers,
                "parallelism": self.workers,
                "backoffLimitPerIndex": _MOST_CRASHES,
                "podFailurePolicy": {"rules": _failure_rules()},
                "podReplacementPolicy": "Failed",
                "template": {"metadata": {"labels": labels}, "spec": self._pod()},
            },
        }

    def _pod(self) -> dict[str, Any]:
        volumes: list[dict[str, Any]] = [
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": _SHARED_MEMORY}}
        ]
        if self.claim is not None:
            volumes += [{"name": "shared-folder", "persistentVolumeClaim": {"claimName": self.claim}}]
        return {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_S,
            # The pod's own first process collects orphans, and a worker that is not the first hears SIGTERM at once.
            "shareProcessNamespace": True,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self._container()],
            "volumes": volumes,
        }

    def _container(self) -> dict[str, Any]:
        secret = {"name": self.secret, "key": "CIFARSWEEP_DB"}
        environment: list[dict[str, Any]] = [{"name": "CIFARSWEEP_DB", "valueFrom": {"secretKeyRef": secret}}]
        mounts = [{"name": "shared-memory", "mountPath": "/dev/shm"}]  # noqa: S108 - the pod's own
        if self.claim is not None:
            environment += [{"name": "CIFARSWEEP_DATA", "value": str(SHARED_FOLDER / "data")}]
            mounts += [{"name": "shared-folder", "mountPath": str(SHARED_FOLDER)}]
        return {
            "name": "worker",
            "image": self.image,
            "command": ["cifarsweep"],
            # Kubernetes would put in variables where it finds $(NAME).
            "args": [argument.replace("$", "$$") for argument in (*self._command(), *self.arguments)],
            "env": environment,
            # The rest of the Secret: keys of an object store, a password.
            "envFrom": [{"secretRef": {"name": self.secret}}],
            "resources": self._resources(),
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": mounts,
        }

    def _command(self) -> list[str]:
        if self.gpus > 1:
            groups = [f"--gpus-per-trial={self.gpus_per_trial}"] if self.gpus_per_trial > 1 else []
            return ["launch", "--gpus=all", *groups, "--logs=/tmp/logs"]
        return ["worker", "--gpu=0" if self.gpus else "--cpu"]

    def _resources(self) -> dict[str, dict[str, str]]:
        requests = {"cpu": str(self.cpus or _CPUS), "memory": self.memory or _MEMORY}
        limits = {"nvidia.com/gpu": str(self.gpus)} if self.gpus else {}
        limits |= {"memory": self.memory} if self.memory else {}
        return {"requests": requests} | ({"limits": limits} if limits else {})


def job_name(studies: Sequence[str]) -> str:
    """Return a name for a Job of these studies; two studies never have the same."""
    if len(studies) != 1:
        return "cifarsweep"
    plain = re.sub(r"[^a-z0-9]+", "-", studies[0].lower()).strip("-")[:32].strip("-")
    if plain == studies[0]:
        return f"cifarsweep-{plain}"
    return f"cifarsweep-{plain}-{hashlib.sha256(studies[0].encode()).hexdigest()[:8]}"


def own_arguments(code: Iterable[str], programs: Iterable[str]) -> list[str]:
    """Return the arguments for code and programs in the image. Raises SpecError for a path that is not a whole one."""
    for option, given in (("--code", code), ("--program", programs)):
        for text in given:
            package = option == "--code" and _PACKAGE.fullmatch(text)
            if not (package or PurePosixPath(text).is_absolute()):
                raise SpecError(
                    f"{option} {quoted(text)}: a pod has the files of its image alone; write the whole path that it "
                    "has there, such as /app/study.toml"
                )
    return [*(f"--code={text}" for text in code), *(f"--program={text}" for text in programs)]


def _failure_rules() -> list[dict[str, Any]]:
    """What Kubernetes does when a pod fails; anything else counts as a crash of its worker."""

    def codes(action: str, values: Iterable[int]) -> dict[str, Any]:
        return {
            "action": action,
            "onExitCodes": {"containerName": "worker", "operator": "In", "values": sorted(values)},
        }

    # The first rule that fits is taken: a pod that was put off its machine did nothing wrong, whatever it ended with.
    drained = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    return [drained, codes("FailIndex", _FAIL_CODES), codes("Ignore", _RETRY_CODES)]


def _check(option: str, name: str, pattern: re.Pattern[str], longest: int, what: str) -> None:
    if len(name) > longest or not pattern.fullmatch(name):
        raise SpecError(
            f"{option} {quoted(name)}: is no name in Kubernetes; use 1 to {longest} {what}, with a letter or digit at "
            "both ends"
        )
