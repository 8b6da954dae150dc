"""Whether the GPUs of a worker suffice for the trials of a study: each trains on as many as its `devices` say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cifarsweep.errors import DeviceError, TooFewGpus
from cifarsweep.spec.devices import devices_of
from cifarsweep.spec.study import Study
from cifarsweep.worker.child.protocol import Ready


class GpusHere:
    """The GPUs that the trials of a worker train on. `count` is None on a processor, which trains any number."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count

    def suffice(self, devices: int | None) -> bool:
        """Return whether a trial on so many can be trained here; None is one of a program, whose child counts them."""
        return self.count is None or devices is None or devices <= self.count

    def check(self, study: Study) -> None:
        """Raise TooFewGpus for a study of which a trial takes more."""
        most = max(devices_of(study), default=1)
        if self.count is None or most <= self.count:
            return
        raise TooFewGpus(
            f"study {study.name!r}: its largest trials train on {most} GPUs (`devices`), and this worker has "
            f"{self.count}: start one with --gpu {_numbers(most)}, or `cifarsweep launch --gpus-per-trial {most}`"
        )

    def idle_note(self, study: Study) -> str | None:
        """Return a sentence on GPUs that stay idle while trials of the study train; None if there are none."""
        fewest, most = min(devices_of(study), default=1), max(devices_of(study), default=1)
        if self.count is None or study.program is not None or fewest >= self.count:
            return None
        its = "its trials train" if fewest == most else "its smallest trials train"
        better = "" if most == self.count else f"; `cifarsweep launch --gpus-per-trial {most}` uses all"
        return f"study {study.name!r}: {its} on {fewest} of this worker's {self.count} GPUs, the others idle{better}"


def check_gpus(ready: Ready, settings: Mapping[str, Any]) -> None:
    """Raise DeviceError where a trial of these settings takes more GPUs than a child has; a processor trains any."""
    wanted, count = settings.get("devices", 1), len(ready.gpus)
    if 0 < count < wanted:
        raise DeviceError(
            f"the trial trains on {wanted} GPUs (`devices`), and here are {count}: give --gpu {_numbers(wanted)}"
        )


def _numbers(count: int) -> str:
    return ",".join(map(str, range(count)))
