"""The looks at the data that are planned for a study that is extended."""

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "cs_look",
        sa.Column(
            "study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("seeds", sa.Integer(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["cs_study.study_id"], name="fk_cs_look_study_id"),
        sa.PrimaryKeyConstraint("study_id", "seeds", name="pk_cs_look"),
    )
