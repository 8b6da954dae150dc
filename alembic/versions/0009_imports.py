"""Nobody knows the settings of imported trials: those that were made up for them go."""

import hashlib
import json

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    conn = op.get_bind()
    for study_id, text in conn.execute(sa.text("SELECT study_id, spec FROM cs_study")).all():
        if '"imported":true' not in text:
            continue
        try:
            spec = json.loads(text)
        except ValueError:  # somebody edited it by hand
            continue
        for cell in spec["cells"]:
            cell["settings"] = None
        text = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        values = {"id": study_id, "spec": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        conn.execute(sa.text("UPDATE cs_study SET spec = :spec, sha256 = :sha256 WHERE study_id = :id"), values)
        conn.execute(sa.text("UPDATE cs_cell SET settings = 'null' WHERE study_id = :id"), {"id": study_id})
