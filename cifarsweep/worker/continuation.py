"""What a trial that goes on from the checkpoint of an earlier attempt has in common with it."""

from __future__ import annotations

from cifarsweep.spec.provenance import changes, changes_text, contributing
from cifarsweep.spec.types import DATA_VERSION
from cifarsweep.store.records import Lease, Segment


def on_other_images(lease: Lease) -> bool:
    """Whether the checkpoints were trained on other images than the lease is for, as far as that was recorded."""
    before, key = _before(lease, lease.step), DATA_VERSION + lease.settings.dataset
    known = None if before is None else before.environment.get(key)
    return known is not None and lease.data_sha256 is not None and known != lease.data_sha256


def continuation_note(lease: Lease, start_step: int) -> str | None:
    """What is to be said where training goes on with other software, or on another device; None where it does not."""
    before = _before(lease, start_step)
    if before is None:
        return None
    found = changes((before.environment, lease.history[-1].environment))
    if not found:
        return None
    return (
        f"goes on from step {start_step:,} with something else ({changes_text(found)}): its result is no longer "
        "promised to be the same bits again"
    )


def _before(lease: Lease, start_step: int) -> Segment | None:
    """The attempt whose checkpoint of that step this one goes on from."""
    *earlier, _ = lease.history or (None,)
    found = contributing([*(each.first_step for each in earlier), start_step]) if earlier else []
    return earlier[found[-2]] if len(found) > 1 else None
