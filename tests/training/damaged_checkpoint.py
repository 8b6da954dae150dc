"""A campaign: checkpoints cut short, with a bit flipped, or deleted, one or both of a trial's two."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.errors import CheckpointError
from cifarsweep.spec.types import CheckpointRef

Damage = Callable[[Path, random.Random], None]


def truncate(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


def flip_a_bit(path: Path, chance: random.Random) -> None:
    payload = bytearray(path.read_bytes())
    payload[chance.randrange(len(payload))] ^= 1 << chance.randrange(8)
    path.write_bytes(payload)


def delete(path: Path, chance: random.Random) -> None:
    path.unlink()


KINDS: tuple[Damage, ...] = (truncate, flip_a_bit, delete)


def campaign(cases: int, seed: int, folder: Path) -> Counter[str]:
    """Damage `cases` pairs of checkpoints and read each as a resume does, newest first.

    Counts `cases`, and where training would go on: at the checkpoint `before`, or at the `start`. These must be 0:
    damaged files that were `accepted`, whole ones that were `missed`, and `wrong` bytes.
    """
    chance, found = random.Random(seed), Counter(cases=0, accepted=0, before=0, start=0, missed=0, wrong=0)
    for case in range(cases):
        _one(chance, CheckpointFolder(folder / str(case)), KINDS[case % len(KINDS)], found)
    return found


def _one(chance: random.Random, folder: CheckpointFolder, damage: Damage, found: Counter[str]) -> None:
    payloads = {step: chance.randbytes(chance.randrange(1, 2000)) for step in (20, 10)}
    refs = [folder.write(step, payload) for step, payload in payloads.items()]
    broken = refs if chance.random() < 0.3 else refs[:1]
    for ref in broken:
        damage(Path(ref.path), chance)
    ref, payload = _resume(folder, refs)
    found["cases"] += 1
    found["accepted"] += ref in broken
    found["wrong"] += ref is not None and payload != payloads[ref.step]
    found["start" if ref is None else "before"] += 1
    found["missed"] += ref is None and len(broken) == 1


def _resume(folder: CheckpointFolder, refs: Sequence[CheckpointRef]) -> tuple[CheckpointRef | None, bytes]:
    for ref in refs:
        try:
            return ref, folder.read(ref)
        except CheckpointError:
            continue
    return None, b""
