"""How many steps a trial trains in all, for those who watch it."""

import sqlalchemy as sa

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("cs_trial", sa.Column("total_steps", sa.BigInteger()))
