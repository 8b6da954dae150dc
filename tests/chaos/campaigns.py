"""Every campaign with its sizes: a short form for the tests, the full one for `benchmarks/chaos.py`, and the goal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import against_databases
import against_files
import against_programs
import against_trees
import against_twins
import against_workers

BOTH, SQLITE, POSTGRES = ("sqlite", "postgresql"), ("sqlite",), ("postgresql",)


@dataclass(frozen=True)
class Campaign:
    """`goals` are what the counts of the full form must reach; the oracle raises Broken of its own accord."""

    run: Callable[..., dict[str, int]]
    backends: tuple[str, ...]
    short: Mapping[str, Any]
    full: Mapping[str, Any]
    goals: Mapping[str, int]
    lease_s: float = 3.0
    tables: bool = True


CAMPAIGNS: dict[str, Campaign] = {
    "random-kills": Campaign(
        against_workers.random_kills,
        BOTH,
        {"kills": 6, "trials": 12, "workers": 3},
        {"kills": 200, "trials": 200, "workers": 6},
        {"kills": 200, "trials": 200},
    ),
    "kill-storms": Campaign(
        against_workers.kill_storms,
        BOTH,
        {"kills": 6, "trials": 2, "workers": 1},
        {"kills": 20, "trials": 12, "storms": 5},
        {"kills": 100, "trials done": 60},
        lease_s=1.2,
    ),
    "real-kills": Campaign(
        against_workers.real_kills,
        SQLITE,
        {"kills": 1, "trials": 1, "workers": 1},
        {"kills": 20, "trials": 6},
        {"kills": 20},
        lease_s=6.0,
    ),
    "kills-at-points": Campaign(
        against_workers.kills_at_points, BOTH, {"points": 8}, {}, {"points reached": 34}, lease_s=2.0
    ),
    "program-kills": Campaign(
        against_programs.random_kills,
        BOTH,
        {"kills": 4, "trials": 6, "workers": 2},
        {"kills": 20, "trials": 40},
        {"kills": 20, "trials": 40},
    ),
    "tree-kills": Campaign(
        against_trees.random_kills,
        BOTH,
        {"kills": 6, "seeds": 1},
        {"kills": 200, "seeds": 3, "workers": 6},
        {"kills": 200, "began with others' steps": 100},
    ),
    "tree-points": Campaign(
        against_trees.kills_at_points, BOTH, {"points": 4}, {}, {"points reached": 18}, lease_s=2.0
    ),
    "twin-points": Campaign(
        against_twins.kills_at_points, BOTH, {"points": 3}, {}, {"points reached": 9, "reused": 18}, lease_s=2.0
    ),
    "freezes": Campaign(
        against_workers.freezes,
        BOTH,
        {"freezes": 4, "trials": 12},
        {"freezes": 60, "trials": 60, "workers": 4},
        {"freezes": 60, "zombies turned away": 5},
        lease_s=1.5,
    ),
    "fence-off": Campaign(against_workers.fence_off, BOTH, {}, {}, {"complaints without the fence": 1}, lease_s=4.0),
    "wrong-clocks": Campaign(against_workers.wrong_clocks, BOTH, {"trials": 12}, {"trials": 60}, {"trials": 60}),
    "postgres-restarts": Campaign(
        against_databases.postgres_restarts,
        POSTGRES,
        {"restarts": 3, "trials": 12},
        {"restarts": 20, "trials": 40},
        {"restarts": 20},
        lease_s=60.0,
    ),
    "cut-connections": Campaign(
        against_databases.cut_connections,
        POSTGRES,
        {"ambiguous": 8, "trials": 12},
        {"ambiguous": 100, "trials": 60},
        {"ambiguous commits": 50, "answer lost": 25},
        lease_s=5.0,
    ),
    "two-at-once": Campaign(
        against_databases.two_at_once, BOTH, {"each": 2}, {"each": 8}, {"studies": 1, "schemas": 1}, tables=False
    ),
    "damaged-checkpoints": Campaign(
        against_files.damaged_checkpoints, SQLITE, {"cases": 24}, {"cases": 600}, {"cases": 500}
    ),
    "full-checkpoint-disk": Campaign(
        against_files.full_checkpoint_disk,
        SQLITE,
        {"trials": 2},
        {"trials": 8},
        {"failed checkpoints": 1},
        lease_s=60.0,
    ),
    "full-database-disk": Campaign(
        against_files.full_database_disk, SQLITE, {"trials": 2}, {"trials": 8}, {"refused while full": 5}
    ),
    "bad-children": Campaign(
        against_files.bad_children,
        BOTH,
        {"behaviours": ("segfault", "garbage", "memory"), "good": 2},
        {"good": 12},
        {"trials poisoned": 5, "trials failed": 2},
        lease_s=1.2,
    ),
}
