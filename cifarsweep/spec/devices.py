"""How many devices the trials of a study train on."""

from __future__ import annotations

from cifarsweep.spec.study import Study


def devices_of(study: Study) -> set[int]:
    """Return the numbers of devices that its trials take; none for a program or an imported study."""
    searched = study.search.space.get("devices") if study.search else None
    ends = {int(value) for value in searched.ends if isinstance(value, int)} if searched else set()
    return ends | {cell.own_settings.devices for cell in study.cells if cell.own_settings is not None}
