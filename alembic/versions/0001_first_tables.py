"""The first tables: studies, cells, trials with their leases, attempts, checkpoints, workers, metrics."""

import sqlalchemy as sa

from alembic import op

revision = "0001"
down_revision = None

# SQLite numbers rows by itself only where the key is its own INTEGER.
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_studies()
    create_trials()
    create_attempts()
    create_metrics()


def create_studies() -> None:
    op.create_table(
        "cs_study",
        sa.Column("study_id", ID, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("study_id", name="pk_cs_study"),
        sa.UniqueConstraint("name", name="uq_cs_study_name"),
    )
    op.create_table(
        "cs_cell",
        sa.Column("cell_id", ID, nullable=False),
        sa.Column("study_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("levels", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("settings_sha256", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["cs_study.study_id"], name="fk_cs_cell_study_id"),
        sa.PrimaryKeyConstraint("cell_id", name="pk_cs_cell"),
        sa.UniqueConstraint("study_id", "settings_sha256", name="uq_cs_cell_study_id_settings_sha256"),
    )


def create_trials() -> None:
    op.create_table(
        "cs_trial",
        sa.Column("trial_id", ID, nullable=False),
        sa.Column("study_id", ID, nullable=False),
        sa.Column("cell_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("rank", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("flush_seq", sa.Integer(), server_default="0", nullable=False),
        sa.Column("worker_id", sa.String(200)),
        sa.Column("token", sa.String(32)),
        sa.Column("clock", sa.String(64)),
        sa.Column("beat", sa.Double()),
        sa.Column("lease_until", sa.Double()),
        sa.Column("not_before", sa.Double()),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("exceptions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("out_of_memory", sa.Integer(), server_default="0", nullable=False),
        sa.Column("shunned_by", sa.String(200)),
        sa.Column("step", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("furthest", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("elapsed_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("outcome", sa.String(16)),
        sa.Column("value", sa.Double()),
        sa.Column("final", sa.Text()),
        sa.Column("weights_sha256", sa.String(64)),
        sa.Column("told", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["cs_study.study_id"], name="fk_cs_trial_study_id"),
        sa.ForeignKeyConstraint(["cell_id"], ["cs_cell.cell_id"], name="fk_cs_trial_cell_id"),
        sa.PrimaryKeyConstraint("trial_id", name="pk_cs_trial"),
        sa.UniqueConstraint("study_id", "number", name="uq_cs_trial_study_id_number"),
        sa.UniqueConstraint("cell_id", "seed", name="uq_cs_trial_cell_id_seed"),
    )
    op.create_index("ix_cs_trial_queue", "cs_trial", ["state", "rank", "trial_id"])
    op.create_index("ix_cs_trial_study_queue", "cs_trial", ["study_id", "state", "rank", "trial_id"])
    op.create_index("ix_cs_trial_told", "cs_trial", ["told", "state"])


def create_attempts() -> None:
    op.create_table(
        "cs_checkpoint",
        sa.Column("trial_id", ID, autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["cs_trial.trial_id"], name="fk_cs_checkpoint_trial_id"),
        sa.PrimaryKeyConstraint("trial_id", "step", name="pk_cs_checkpoint"),
    )
    op.create_table(
        "cs_attempt",
        sa.Column("trial_id", ID, autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("worker_id", sa.String(200), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("ending", sa.String(16)),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("traceback", sa.Text()),
        sa.ForeignKeyConstraint(["trial_id"], ["cs_trial.trial_id"], name="fk_cs_attempt_trial_id"),
        sa.PrimaryKeyConstraint("trial_id", "attempt", name="pk_cs_attempt"),
    )
    op.create_table(
        "cs_worker",
        sa.Column("worker_id", sa.String(200), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("clock", sa.String(64), nullable=False),
        sa.Column("beat", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name="pk_cs_worker"),
    )


def create_metrics() -> None:
    op.create_table(
        "cs_metric",
        sa.Column("trial_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("kind", sa.String(4)),
        sa.PrimaryKeyConstraint("trial_id", "name", "step", name="pk_cs_metric"),
        # The key is the table: rows of one series lie together, and writing them is twice as fast.
        sqlite_with_rowid=False,
    )
