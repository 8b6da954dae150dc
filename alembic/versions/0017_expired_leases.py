"""Marks of expired leases, and when somebody last checked for them: claims no longer read all leases."""

import sqlalchemy as sa

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("cs_trial", sa.Column("expired", sa.Boolean(), server_default=sa.false(), nullable=False))
    order = ["rank", sa.text("waiting_steps DESC"), "trial_id"]
    partial = {"postgresql_where": sa.text("expired"), "sqlite_where": sa.text("expired = 1")}
    op.create_index("ix_cs_trial_expired", "cs_trial", order, **partial)
    op.create_table(
        "cs_lease_check",
        sa.Column("clock", sa.String(64), nullable=False),
        sa.Column("moment", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("clock", name="pk_cs_lease_check"),
    )
