"""Which images the last evaluations of trials got right."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, insert, select

from cifarsweep.spec.types import Hits
from cifarsweep.store import rows
from cifarsweep.store.columns import BadValue
from cifarsweep.store.schema import hits, trial
from cifarsweep.store.study_rows import study_id

#: Trials that one query names.
_PAGE = 1000


def insert_hits(conn: Connection, trial_id: int, found: Mapping[str, Hits]) -> None:
    """Add what a trial that is done got right."""
    values = [
        {"trial_id": trial_id, "metric": name, "images": each.images, "bits": base64.b64decode(each.packed)}
        for name, each in found.items()
    ]
    if values:
        conn.execute(insert(hits), values)


def read_hits(conn: Connection, study: str, names: Iterable[str], only: Sequence[int]) -> dict[tuple[int, str], Hits]:
    """The hits behind the accuracies `names` by trial number and name, of the trials `only` that recorded them."""
    wanted = [trial.c.study_id == study_id(conn, study), hits.c.metric.in_(set(names))]
    query = select(trial.c.number, hits).join(trial, trial.c.trial_id == hits.c.trial_id).where(*wanted)
    found: dict[tuple[int, str], Hits] = {}
    pages = (only[start : start + _PAGE] for start in range(0, len(only), _PAGE))
    for row in (row for page in pages for row in conn.execute(query.where(trial.c.number.in_(page)))):
        with rows.naming_trial(study, row.number):
            values = rows.read(hits, row[1:])
            if problem := rows.wrong_length(row):
                raise BadValue(problem)
        packed = base64.b64encode(values["bits"]).decode()
        found[row.number, values["metric"]] = Hits(values["images"], packed)
    return found
