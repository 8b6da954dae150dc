"""Steering: what people wish of trials and studies, the slot that trains a trial, and Optuna's view gone stale."""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Plain ALTER TABLE, which both databases do at once however many rows there are.
    op.add_column("cs_trial", sa.Column("slot", sa.Integer()))
    op.add_column("cs_trial", sa.Column("wish", sa.String(8)))
    op.add_column("cs_study", sa.Column("wish", sa.String(8)))
    op.add_column("cs_study", sa.Column("rank", sa.Integer(), server_default="0", nullable=False))
    op.add_column("cs_study", sa.Column("stale", sa.Boolean(), server_default=sa.false(), nullable=False))
