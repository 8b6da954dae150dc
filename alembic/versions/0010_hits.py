"""Which images the last evaluations of a trial got right; and results on a test set, for people who write SQL."""

import sqlalchemy as sa

from alembic import op

revision = "0010"
down_revision = "0009"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: New columns of v_trial.
FINAL = {
    "test_accuracy": "test/accuracy",
    "test_loss": "test/loss",
    "best_test_accuracy": "best/test_accuracy",
    "best_test_loss": "best/test_loss",
}


def upgrade() -> None:
    op.create_table(
        "cs_hits",
        sa.Column("trial_id", ID, autoincrement=False, nullable=False),
        sa.Column("metric", sa.String(64), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("bits", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["cs_trial.trial_id"], name="fk_cs_hits_trial_id"),
        sa.PrimaryKeyConstraint("trial_id", "metric", name="pk_cs_hits"),
    )
    views = op.get_context().script.get_revision("0005").module
    op.execute("DROP VIEW v_trial")
    op.execute("DROP VIEW v_metric")
    views.upgrade(views.FINAL | FINAL)
