"""What people note about a study or a trial."""

import sqlalchemy as sa

from alembic import op

revision = "0014"
down_revision = "0013"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "cs_note",
        sa.Column("note_id", ID, nullable=False),
        sa.Column("study_id", ID, nullable=False),
        sa.Column("trial_id", ID),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["cs_study.study_id"], name="fk_cs_note_study_id"),
        sa.ForeignKeyConstraint(["trial_id"], ["cs_trial.trial_id"], name="fk_cs_note_trial_id"),
        sa.PrimaryKeyConstraint("note_id", name="pk_cs_note"),
    )
    op.create_index("ix_cs_note_study_id", "cs_note", ["study_id"])
