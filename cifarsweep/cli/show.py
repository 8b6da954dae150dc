"""`show`: one trial, with everything that the database holds of it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarsweep.cli import completion
from cifarsweep.cli.json_output import print_json
from cifarsweep.cli.options import DEFAULT_DATABASE, Database, Json, console
from cifarsweep.errors import SpecError
from cifarsweep.spec.provenance import changes_text
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from cifarsweep.store import Store
    from cifarsweep.store.records import Note
    from cifarsweep.store.trial_records import TrialRow


#: Signs of a version that are shown, and of a word that is a digest, of which the first ones say enough.
_LONGEST, _DIGEST = 32, 40


def show(
    trial: Annotated[
        str, typer.Argument(metavar="STUDY/TRIAL", help="For example demo/3.", autocompletion=completion.trials)
    ],
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Show one trial: settings, attempts, metrics, error."""
    from cifarsweep.store import Store

    study, number = parse_trial(trial)
    with Store.open(db, read_only=True) as store:
        row = store.trials.get(study, number)
        latest = row.final or _latest(store, study, number)
        notes = [one for one in store.notes.of(study) if one.trial == number]
    if as_json:
        fields = trial_fields(row, latest)
        print_json("trial", {"study": study} | fields | {"notes": [note_fields(one) for one in notes]})
    else:
        _print(study, row, latest, notes)


def note_fields(note: Note) -> dict[str, Any]:
    """A note as plain values."""
    written = note.written_at.isoformat(timespec="seconds")
    return {"note": note.note, "trial": note.trial, "written_at": written, "text": note.text}


def parse_trial(text: str) -> tuple[str, int]:
    """Study and number of `STUDY/NUMBER`. Raises SpecError."""
    study, slash, number = text.rpartition("/")
    if not slash or not number.isdecimal() or len(number) > 9:
        raise SpecError(f"{text!r}: write a trial as STUDY/NUMBER, for example demo/3")
    if not study:
        raise SpecError(f"{text!r}: the study's name is missing; write a trial as STUDY/NUMBER, for example demo{text}")
    return study, int(number)


def _latest(store: Store, study: str, number: int) -> dict[str, float]:
    """The newest value of each metric, for a trial that is not done yet."""
    from cifarsweep.spec.metrics import METRIC_LABELS

    names = store.metrics.names(study) if store.studies.get(study).spec.program else METRIC_LABELS
    series = store.metrics.read(study, list(names), only=[number])
    return {name: float(values[-1]) for (_, name), (_, values) in series.items()}


def trial_fields(row: TrialRow, latest: Mapping[str, float]) -> dict[str, Any]:
    """One trial as plain values; numbers that JSON lacks, such as nan, are texts."""
    from cifarsweep.spec.frozen import EVERY_FIELD

    return {
        "number": row.number,
        "cell": row.cell,
        "seed": row.seed,
        "state": row.state,
        "outcome": row.outcome,
        "step": row.step,
        "elapsed_s": row.elapsed_s,
        "source": row.source or None,
        "reused_steps": row.reused_steps,
        "reused_s": row.reused_s,
        "waits_for": row.waits_for or None,
        "error": row.error or None,
        "traceback": row.traceback or None,
        "last_metrics": {name: v if math.isfinite(v) else str(v) for name, v in latest.items()},
        "weights_sha256": row.weights_sha256 or None,
        "changed_on_its_way": {name: list(values) for name, values in row.changed.items()},
        "attempts": [asdict(attempt) for attempt in row.attempts],
        "settings": row.own_settings.model_dump(mode="json", context=EVERY_FIELD) if row.own_settings else None,
        "parameters": dict(row.parameters) if row.parameters is not None else None,
    }


def _print(study: str, row: TrialRow, latest: Mapping[str, float], notes: Sequence[Note]) -> None:
    from rich.text import Text

    screen = console()
    state = f"{row.state}, {row.outcome}" if row.outcome else str(row.state)
    title = Text(f"{one_line(study)}/{row.number}", style="bold")
    screen.print(title.append(f"  {one_line(row.cell)}, seed {row.seed}: {state}", style="not bold"))
    screen.print(f"step {row.step:,}, {row.elapsed_s:,.1f} s of training")
    if row.reuse:
        screen.print(f"{one_line(row.reused_text)}, {row.reused_s:,.1f} s of it", highlight=False, soft_wrap=True)
    if row.waits_for:
        screen.print(f"waits for {one_line(row.waits_for)}, to take steps over from it", highlight=False)
    if row.weights_sha256:
        screen.print(f"weights sha256 {row.weights_sha256}")
    if row.changed:
        what = f"continued with something else than before: {one_line(changes_text(row.changed))}"
        screen.print(f"{what}. The same bits are not promised for it.", soft_wrap=True)
    for one in notes:
        screen.print(f"note {one.note} of {one.written_at:%Y-%m-%d}: {one.text}", highlight=False, soft_wrap=True)
    for table in (_attempts(row), _pairs("last metrics", latest), _settings(row)):
        if table.row_count:
            screen.print(table)
    if row.own_settings is None and row.parameters is None:
        screen.print("imported from logs, which do not say what it was trained with", highlight=False)
    if row.error:
        screen.print(row.traceback or row.error, style="red", soft_wrap=True)


def _attempts(row: TrialRow) -> Table:
    from rich.table import Table

    from cifarsweep.spec.devices import device_text

    devices = row.own_settings.devices if row.own_settings else 1
    columns = ("attempt", "worker", "device", "began", "ended", "how", "from step", "versions")
    table = Table(*columns, title="attempts", title_justify="left")
    for each in row.attempts:
        began = each.started_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        ended = each.ended_at.astimezone().strftime("%H:%M:%S") if each.ended_at else ""
        versions = ", ".join(f"{name} {_short(version)}" for name, version in each.versions.items())
        device = device_text(each.device, devices, each.versions)
        texts = (each.worker_id, device, began, ended, str(each.end or "running"), str(each.first_step), versions)
        table.add_row(str(each.attempt), *map(one_line, texts))
    return table


def _short(version: str) -> str:
    words = " ".join(word[:16] if len(word) >= _DIGEST else word for word in version.split(" "))
    return words if len(words) <= _LONGEST else version[:16]


def _settings(row: TrialRow) -> Table:
    from cifarsweep.spec.levels import level_text
    from cifarsweep.spec.settings import flat_settings

    if row.parameters is not None:
        return _pairs("parameters", {key: level_text(value) for key, value in row.parameters.items()})
    # An imported trial has only the levels that its logs name.
    settings = row.levels if row.own_settings is None else flat_settings(row.own_settings)
    # Floats to their last digit.
    texts = {key: level_text(v) if isinstance(v, float) else str(v) for key, v in settings.items() if v is not None}
    return _pairs("settings", texts)


def _pairs(title: str, values: Mapping[str, Any]) -> Table:
    """Names and values, three pairs a row so that a screen holds them all."""
    from rich.table import Table

    table = Table(*("", "") * 3, title=title, title_justify="left", show_header=False)
    cells = [(name, f"{v:.6g}" if isinstance(v, float) else str(v)) for name, v in values.items()]
    for start in range(0, len(cells), 3):
        table.add_row(*(one_line(text) for pair in cells[start : start + 3] for text in pair))
    return table
