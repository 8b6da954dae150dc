"""Which plan a look belongs to: looks that were added after others had been taken have levels of their own."""

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("cs_look", sa.Column("plan", sa.Integer(), server_default="1", nullable=False))
