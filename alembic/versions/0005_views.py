"""Views for people who write SQL: one row a trial, and metrics in long form."""

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"

#: Columns of v_trial that are last metrics.
FINAL = {
    "val_accuracy": "val/accuracy",
    "val_loss": "val/loss",
    "train_accuracy": "train/accuracy",
    "train_loss": "train/loss",
    "best_accuracy": "best/accuracy",
    "best_step": "best/step",
    "params": "params",
    "flops_per_image": "flops_per_image",
}

TRIAL = """
CREATE VIEW v_trial AS
SELECT s.name AS study, t.number AS trial, c.name AS cell, t.seed, t.state, t.outcome, {final},
       t.step AS steps, t.elapsed_s, {more}t.attempt AS attempts, w.host, w.device,
       (SELECT min(a.started_at) FROM cs_attempt a WHERE a.trial_id = t.trial_id) AS started_at,
       (SELECT max(a.ended_at) FROM cs_attempt a WHERE a.trial_id = t.trial_id) AS finished_at,
       t.weights_sha256, {json} AS final
FROM cs_trial t
JOIN cs_study s ON s.study_id = t.study_id
JOIN cs_cell c ON c.cell_id = t.cell_id
LEFT JOIN cs_worker w ON w.worker_id =
    (SELECT a.worker_id FROM cs_attempt a WHERE a.trial_id = t.trial_id AND a.attempt = t.attempt)
"""

METRIC = """
CREATE VIEW v_metric AS
SELECT s.name AS study, t.number AS trial, c.name AS cell, t.seed, m.name, m.step, {value} AS value
FROM cs_metric m
JOIN cs_trial t ON t.trial_id = m.trial_id
JOIN cs_study s ON s.study_id = t.study_id
JOIN cs_cell c ON c.cell_id = t.cell_id
"""

# SQLite has no NaN: there it is NULL.
SQLITE_NUMBER = (
    "CASE {0} WHEN 'nan' THEN NULL WHEN 'inf' THEN 9e999 WHEN '-inf' THEN -9e999 WHEN '-0' THEN -0.0 ELSE {1} END"
)
SQLITE_JSON = "c.levels, c.settings, t.final"
POSTGRES_NUMBER = "coalesce(m.value, m.kind::float8)"
POSTGRES_JSON = "c.levels::jsonb AS levels, c.settings::jsonb AS settings, t.final::jsonb"


def upgrade(columns: Mapping[str, str] = FINAL, more: str = "") -> None:
    if op.get_bind().dialect.name == "sqlite":
        create(columns, more, sqlite_final, SQLITE_JSON, SQLITE_NUMBER.format("m.kind", "m.value"))
    else:
        create(columns, more, postgres_final, POSTGRES_JSON, POSTGRES_NUMBER)


def create(columns: Mapping[str, str], more: str, read: Callable[[str], str], json: str, value: str) -> None:
    final = ", ".join(f"{read(metric)} AS {column}" for column, metric in columns.items())
    for view in (TRIAL.format(final=final, more=more, json=json), METRIC.format(value=value)):
        # A colon would begin a parameter.
        op.execute(sa.text(view.replace(":", "\\:")))


def postgres_final(metric: str) -> str:
    return f"(t.final::jsonb ->> '{metric}')::float8"


def sqlite_final(metric: str) -> str:
    number = f"json_extract(t.final, '$.\"{metric}\"')"
    return SQLITE_NUMBER.format(number, number)
