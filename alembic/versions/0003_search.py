"""Search studies: how many points are asked for and were, and what was decided about trials that may end early."""

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("cs_study", sa.Column("points", sa.Integer()))
    op.add_column("cs_study", sa.Column("asked", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "cs_decision",
        sa.Column("trial_id", ID, autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("prune", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["cs_trial.trial_id"], name="fk_cs_decision_trial_id"),
        sa.PrimaryKeyConstraint("trial_id", "step", name="pk_cs_decision"),
    )
