"""Who is to be told of a study's end, and whether somebody was: a worker may be killed before it tells."""

import sqlalchemy as sa

from alembic import op

revision = "0015"
down_revision = "0014"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "cs_watch",
        sa.Column("study_id", ID, autoincrement=False, nullable=False),
        sa.Column("target", sa.String(16), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["cs_study.study_id"], name="fk_cs_watch_study_id"),
        sa.PrimaryKeyConstraint("study_id", "target", name="pk_cs_watch"),
    )
    op.add_column("cs_notice", sa.Column("told_at", sa.DateTime(timezone=True)))
    op.execute("UPDATE cs_notice SET told_at = claimed_at")
