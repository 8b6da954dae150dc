"""The child of campaigns: its chain begins with the settings, and steps report odd numbers, too.

Run by a victim (victim.py), which says in the environment how long a step takes and what goes wrong in which trial.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))

import sabotage
from support import child
from support.child import State, fraction

from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.types import MetricRow
from cifarsweep.training.events import Event
from cifarsweep.worker.child.protocol import Train

#: How many images of the digits are trained on.
IMAGES = 1442
_ODD = (math.nan, math.inf, -math.inf, -0.0)


def beginning(settings: dict[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)


def rows(state: State) -> tuple[MetricRow, ...]:
    step, chain = state
    values = {
        "train/loss": fraction(chain),
        VAL_ACCURACY: fraction(chain[8:]),
        "odd": _ODD[int(chain[-1], 16) % len(_ODD)],
    }
    return tuple(MetricRow(name, step, value) for name, value in values.items())


@dataclass(frozen=True)
class Chaos(child.Script):
    """There are two checkpoints where a trial misbehaves, and rows beyond them."""

    steps: int = 12
    bad_step: int = 6
    weight: int = 4096
    trap: Callable[[str], object] = lambda point: None

    def beginning(self, request: Train) -> str:
        return beginning(request.settings)

    def rows(self, request: Train, state: State) -> tuple[MetricRow, ...]:
        return rows(state)

    def before(self, request: Train, step: int, should_stop: Callable[[], bool]) -> Iterator[Event]:
        time.sleep(self.step_s)
        behaviours = json.loads(os.environ.get("CHAOS_MISBEHAVE", "{}"))
        behaviour = behaviours.get(str(request.seed), behaviours.get("all", ""))
        if behaviour and step == self.bad_step:
            if behaviour.startswith("raise"):
                time.sleep(0.3)  # so that the last checkpoint does not share its way to the worker with the failure
            child.mishap(behaviour, Path(request.folder) / "misbehaved")
        yield from ()


@dataclass(frozen=True)
class ChaosTree(child.Tree, Chaos):
    """The same, of trials that share steps."""

    images: int = IMAGES

    def saved_branch(self, request: Train, state: State) -> Iterator[Event]:
        self.trap("before branch")
        yield from super().saved_branch(request, state)

    def after_branch(self, request: Train, step: int) -> Iterator[Event]:
        self.trap("after branch")
        yield from ()


if __name__ == "__main__":
    kind = ChaosTree if "CHAOS_TREE" in os.environ else Chaos
    trap = sabotage.install_in_child()
    child.run(kind(Path(), step_s=float(os.environ.get("CHAOS_STEP_S", "0")), trap=trap))
