"""Which images a study's trials train on, and with what each attempt trained."""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

#: What workers had, in the order in which they came to the study.
WORKERS = """
SELECT t.study_id, c.settings, w.versions, min(a.started_at) AS began
FROM cs_attempt a
JOIN cs_trial t ON t.trial_id = a.trial_id
JOIN cs_cell c ON c.cell_id = t.cell_id
JOIN cs_worker w ON w.worker_id = a.worker_id
GROUP BY t.study_id, c.cell_id, c.settings, w.worker_id, w.versions
ORDER BY began
"""


def upgrade() -> None:
    op.add_column("cs_study", sa.Column("other_data", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("cs_attempt", sa.Column("device", sa.Text()))
    op.add_column("cs_attempt", sa.Column("versions", sa.Text()))
    study_data = op.create_table(
        "cs_study_data",
        sa.Column("study_id", ID, autoincrement=False, nullable=False),
        sa.Column("dataset", sa.String(64), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("study_id", "dataset", name="pk_cs_study_data"),
    )
    first: dict[tuple[int, str], str] = {}
    for row in op.get_bind().execute(sa.text(WORKERS)):
        for dataset, sha256 in trained_on(row.settings, row.versions):
            first.setdefault((row.study_id, dataset), sha256)
    rows = [{"study_id": owner, "dataset": dataset, "sha256": sha256} for (owner, dataset), sha256 in first.items()]
    if rows:
        op.bulk_insert(study_data, rows)


def trained_on(settings: str, versions: str) -> Iterator[tuple[str, str]]:
    """The data set of a cell and the digest of the images that a worker had for it, where the worker said so."""
    dataset = parsed(settings).get("dataset")
    sha256 = parsed(versions).get(f"data {dataset}")
    if isinstance(dataset, str) and isinstance(sha256, str) and len(dataset) <= 64 and len(sha256) == 64:
        yield dataset, sha256


def parsed(text: str) -> dict[str, Any]:
    """A row that somebody edited by hand is no reason to refuse the upgrade."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
