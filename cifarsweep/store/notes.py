"""What people note about a study or one of its trials."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, select

from cifarsweep.errors import SpecError, StoreError
from cifarsweep.store import columns, rows
from cifarsweep.store.database import Part, reading
from cifarsweep.store.records import Note
from cifarsweep.store.schema import note, trial
from cifarsweep.store.study_rows import study_id
from cifarsweep.store.trials import no_such_trial

#: Characters of a note.
LONGEST = 2000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Notes(Part):
    """Add, read and delete notes. Every method raises UnknownStudy, or StoreError where noted."""

    def add(self, study: str, number: int | None, text: str) -> int:
        """Note a text about the study, or about its trial of that number; return the number of the note.

        What is noted already keeps its number. Raises SpecError for a text that is empty, too long or no text, and
        StoreError for a trial that is not there.
        """
        text = _checked(text)

        def work(conn: Connection) -> int:
            owner, about = _about(conn, study, number)
            same = (note.c.study_id == owner, note.c.trial_id.is_not_distinct_from(about), note.c.text == text)
            if (found := conn.execute(select(note.c.note_id).where(*same)).scalar()) is None:
                row = {"study_id": owner, "trial_id": about, "text": text, "written_at": datetime.now(UTC)}
                found = conn.execute(insert(note).returning(note.c.note_id), row).scalar_one()
            return int(found)

        return self._db.write(work)

    @reading
    def of(self, conn: Connection, study: str) -> tuple[Note, ...]:
        """Return the notes of a study and of its trials, oldest first."""
        query = select(trial.c.number, note).outerjoin(trial, trial.c.trial_id == note.c.trial_id)
        found = []
        for row in conn.execute(query.where(note.c.study_id == study_id(conn, study)).order_by(note.c.note_id)):
            try:
                values = rows.read(note, row[1:])
            except columns.BadValue as error:
                raise rows.unreadable(study, error) from None
            found.append(Note(values["note_id"], row.number, values["text"], values["written_at"]))
        return tuple(found)

    def delete(self, study: str, number: int) -> None:
        """Delete a note by its number. Raises StoreError where the study has none of that number."""

        def work(conn: Connection) -> int:
            mine = note.c.study_id == study_id(conn, study), note.c.note_id == number
            return conn.execute(delete(note).where(*mine)).rowcount

        if not self._change(work, lambda count: count):
            raise StoreError(f"study {study!r} has no note {number}; `cifarsweep note {study}` lists its notes")


def _about(conn: Connection, study: str, number: int | None) -> tuple[int, int | None]:
    owner = study_id(conn, study)
    if number is None:
        return owner, None
    found = conn.execute(select(trial.c.trial_id).where(trial.c.study_id == owner, trial.c.number == number)).scalar()
    if found is None:
        raise no_such_trial(conn, study, owner, number)
    return owner, int(found)


def _checked(text: str) -> str:
    text = text.strip()
    if not text:
        raise SpecError("the note is empty; write a text after STUDY or STUDY/TRIAL")
    if len(text) > LONGEST:
        raise SpecError(f"the note has {len(text):,} characters; write at most {LONGEST:,}")
    if bad := _CONTROL.search(text):
        raise SpecError(f"the note has a control character ({bad[0]!a}); leave it out")
    return text
