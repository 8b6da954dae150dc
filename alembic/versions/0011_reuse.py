"""Steps that trials share: what a trial takes from which, checkpoints that others begin from, and who goes first."""

import sqlalchemy as sa

from alembic import op

revision = "0011"
down_revision = "0010"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ORDER = ("state", "rank", sa.text("waiting_steps DESC"), "trial_id")
#: New columns of v_trial.
MORE = """t.reused_steps, t.reused_s,
       (SELECT o.name || '/' || r.number FROM cs_trial r JOIN cs_study o ON o.study_id = r.study_id
        WHERE r.trial_id = t.source_id AND t.reused_steps > 0) AS reused_from,
       """


def upgrade() -> None:
    for column in (
        sa.Column("source_id", sa.BigInteger()),
        sa.Column("branch_step", sa.BigInteger()),
        sa.Column("waits", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("reused_steps", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reused_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("waiting_steps", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rows_digest", sa.String(64)),
    ):
        op.add_column("cs_trial", column)
    op.create_index("ix_cs_trial_source_id", "cs_trial", ["source_id"])
    op.drop_index("ix_cs_trial_queue", "cs_trial")
    op.drop_index("ix_cs_trial_study_queue", "cs_trial")
    op.create_index("ix_cs_trial_queue", "cs_trial", list(ORDER))
    op.create_index("ix_cs_trial_study_queue", "cs_trial", ["study_id", *ORDER])
    op.add_column("cs_attempt", sa.Column("identity", sa.String(64)))
    op.create_index("ix_cs_attempt_identity", "cs_attempt", ["identity"])
    op.create_table(
        "cs_branch",
        sa.Column("trial_id", ID, autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("identity", sa.String(64)),
        sa.Column("path", sa.Text()),
        sa.Column("sha256", sa.String(64)),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("rows_digest", sa.String(64)),
        sa.ForeignKeyConstraint(["trial_id"], ["cs_trial.trial_id"], name="fk_cs_branch_trial_id"),
        sa.PrimaryKeyConstraint("trial_id", "step", name="pk_cs_branch"),
    )
    script = op.get_context().script
    op.execute("DROP VIEW v_trial")
    op.execute("DROP VIEW v_metric")
    views = script.get_revision("0005").module
    views.upgrade(views.FINAL | script.get_revision("0010").module.FINAL, MORE)
