"""Takeovers are counted apart from crashes: a machine that vanishes is no fault of the trial that it trained."""

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"

#: What the common counter was raised for, and by which of them.
COUNTED = ("crashed", "taken_over")


def upgrade() -> None:
    added = sa.Column("takeovers", sa.Integer(), server_default="0", nullable=False)
    op.add_column("cs_trial", added)
    conn = op.get_bind()
    for trial_id, together in conn.execute(sa.text("SELECT trial_id, crashes FROM cs_trial WHERE crashes > 0")).all():
        ends = conn.execute(
            sa.text(
                "SELECT ending FROM cs_attempt WHERE trial_id = :id AND ending IN (:first, :second) "
                "ORDER BY attempt DESC LIMIT :together"
            ),
            {"id": trial_id, "first": COUNTED[0], "second": COUNTED[1], "together": together},
        ).scalars()
        crashes = sum(end == "crashed" for end in ends)
        conn.execute(
            sa.text("UPDATE cs_trial SET crashes = :crashes, takeovers = :takeovers WHERE trial_id = :id"),
            {"id": trial_id, "crashes": crashes, "takeovers": together - crashes},
        )
