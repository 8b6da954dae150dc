"""What people note, as a view for people who write SQL."""

from alembic import op

revision = "0016"
down_revision = "0015"

NOTE = """
CREATE VIEW v_note AS
SELECT s.name AS study, t.number AS trial, c.name AS cell, t.seed, n.note_id AS note, n.text, n.written_at
FROM cs_note n
JOIN cs_study s ON s.study_id = n.study_id
LEFT JOIN cs_trial t ON t.trial_id = n.trial_id
LEFT JOIN cs_cell c ON c.cell_id = t.cell_id
"""


def upgrade() -> None:
    op.execute(NOTE)
