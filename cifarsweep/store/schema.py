"""The tables. Their names begin with `cs_`, so that Optuna's tables can live in the same database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from cifarsweep.store.column_types import Flag, UtcDateTime

PREFIX = "cs_"
VERSION_TABLE = "cifarsweep_alembic_version"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the key is its own INTEGER.
_Id = BigInteger().with_variant(Integer(), "sqlite")


def _moment(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, UtcDateTime(), nullable=nullable)


#: A study: its file as it was read, and what was asked of all its trials.
study = Table(
    "cs_study",
    metadata,
    Column("study_id", _Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("sha256", String(64), nullable=False),
    #: the whole study as canonical JSON
    Column("spec", Text, nullable=False),
    _moment("created_at"),
    #: pause or cancel: applies to trials that the study is still to get, as does their rank
    Column("wish", String(8)),
    Column("rank", Integer, nullable=False, server_default="0"),
    #: Optuna has trials that are not final any more, so its view must be rewritten
    Column("stale", Flag(create_constraint=False), nullable=False, server_default=false()),
    #: of a search: the points that it asks for in all, and those that it has asked for
    Column("points", Integer),
    Column("asked", Integer, nullable=False, server_default="0"),
    #: its trials may be trained on images that differ from one another
    Column("other_data", Boolean(create_constraint=False), nullable=False, server_default=false()),
)

#: The content digests of the images that a study's trials train on. The first claim decides them.
study_data = Table(
    "cs_study_data",
    metadata,
    # No foreign key: checking one locks the study while the claim holds a trial, the reverse of what `pause` does.
    Column("study_id", _Id, primary_key=True, autoincrement=False),
    Column("dataset", String(64), primary_key=True),
    Column("sha256", String(64), nullable=False),
)

#: A cell of a study: one combination of settings.
cell = Table(
    "cs_cell",
    metadata,
    Column("cell_id", _Id, primary_key=True),
    Column("study_id", ForeignKey("cs_study.study_id"), nullable=False),
    #: place among the study's cells
    Column("position", Integer, nullable=False),
    Column("name", String(300), nullable=False),
    #: JSON of the varied settings by dotted key
    Column("levels", Text, nullable=False),
    #: JSON of all settings
    Column("settings", Text, nullable=False),
    Column("settings_sha256", String(64), nullable=False),
    UniqueConstraint("study_id", "settings_sha256"),
)

#: A trial: a cell with a seed, its place in the queue, who holds it, and how it ended.
trial = Table(
    "cs_trial",
    metadata,
    Column("trial_id", _Id, primary_key=True),
    Column("study_id", ForeignKey("cs_study.study_id"), nullable=False),
    Column("cell_id", ForeignKey("cs_cell.cell_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    #: lower ranks are claimed first; of equal ones, those that most steps wait for, then in the order of trial_id
    Column("rank", Integer, nullable=False, server_default="0"),
    # The lease and its fence.
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("flush_seq", Integer, nullable=False, server_default="0"),
    Column("worker_id", String(200)),
    #: which of the worker's children trains it
    Column("slot", Integer),
    #: pause or cancel: what the holder learns with its next beat
    Column("wish", String(8)),
    #: names one claim, so that it is found again where the answer to its COMMIT was lost
    Column("token", String(32)),
    #: the clock that the next three are read from; those of another clock are long past
    Column("clock", String(64)),
    Column("beat", Double),
    Column("lease_until", Double),
    #: somebody saw that the lease had run out; what its holder still writes takes the mark off
    Column("expired", Flag(create_constraint=False), nullable=False, server_default=false()),
    Column("not_before", Double),
    # Failures.
    #: since a checkpoint last got further: children that crashed in it, and workers that vanished with it
    Column("crashes", Integer, nullable=False, server_default="0"),
    Column("takeovers", Integer, nullable=False, server_default="0"),
    Column("exceptions", Integer, nullable=False, server_default="0"),
    Column("out_of_memory", Integer, nullable=False, server_default="0"),
    #: the worker whose device was too small
    Column("shunned_by", String(200)),
    # Progress and result.
    Column("step", BigInteger, nullable=False, server_default="0"),
    #: the steps that it trains in all; empty where nobody knows, as of a program
    Column("total_steps", BigInteger),
    #: the furthest step that any checkpoint reached
    Column("furthest", BigInteger, nullable=False, server_default="0"),
    Column("elapsed_s", Double, nullable=False, server_default="0"),
    Column("outcome", String(16)),
    Column("value", Double),
    #: JSON of the last metrics; numbers that JSON lacks are texts
    Column("final", Text),
    Column("weights_sha256", String(64)),
    # The steps that it shares with another trial.
    #: the trial whose steps it takes, or took
    Column("source_id", BigInteger),
    #: planned: it begins from the source's branch checkpoint of this step; empty where it takes all steps
    Column("branch_step", BigInteger),
    #: it is not due while its source is on its way
    Column("waits", Flag(create_constraint=False), nullable=False, server_default=false()),
    #: what it has taken from its source: steps, and the seconds that they took to train
    Column("reused_steps", BigInteger, nullable=False, server_default="0"),
    Column("reused_s", Double, nullable=False, server_default="0"),
    #: the steps of the longest path of trials that wait for it
    Column("waiting_steps", BigInteger, nullable=False, server_default="0"),
    #: of a trial that is done: the digest of its metric rows; see `rows_digest`
    Column("rows_digest", String(64)),
    #: Optuna has it
    Column("told", Flag(create_constraint=False), nullable=False, server_default=false()),
    UniqueConstraint("study_id", "number"),
    UniqueConstraint("cell_id", "seed"),
    Index("ix_cs_trial_told", "told", "state"),
    Index("ix_cs_trial_source_id", "source_id"),
)
# The order of claims, over all studies and within one.
_order = trial.c.state, trial.c.rank, trial.c.waiting_steps.desc(), trial.c.trial_id
Index("ix_cs_trial_queue", *_order)
Index("ix_cs_trial_study_queue", trial.c.study_id, *_order)
Index("ix_cs_trial_expired", *_order[1:], postgresql_where=trial.c.expired, sqlite_where=trial.c.expired)

#: When a claim last checked which leases have run out.
lease_check = Table(
    "cs_lease_check", metadata, Column("clock", String(64), primary_key=True), Column("moment", Double, nullable=False)
)

#: The numbers of seeds of the looks at an extended study: every look costs a share of the 5 %. Those that
#: were planned together share a level; see `stats.multiplicity`.
look = Table(
    "cs_look",
    metadata,
    Column("study_id", ForeignKey("cs_study.study_id"), primary_key=True, autoincrement=False),
    Column("seeds", Integer, primary_key=True, autoincrement=False),
    Column("plan", Integer, nullable=False, server_default="1"),
)

#: The checkpoints of a trial that can be gone on from.
checkpoint = Table(
    "cs_checkpoint",
    metadata,
    Column("trial_id", ForeignKey("cs_trial.trial_id"), primary_key=True, autoincrement=False),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("path", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

#: Each decision of a search to let a trial go on or to end it early.
decision = Table(
    "cs_decision",
    metadata,
    Column("trial_id", ForeignKey("cs_trial.trial_id"), primary_key=True, autoincrement=False),
    #: of the evaluation that was judged
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    #: the trial ends here
    Column("prune", Flag(create_constraint=False), nullable=False),
)

#: Which images a trial got right at its last evaluation.
hits = Table(
    "cs_hits",
    metadata,
    Column("trial_id", ForeignKey("cs_trial.trial_id"), primary_key=True, autoincrement=False),
    #: the accuracy that they make up
    Column("metric", String(64), primary_key=True),
    Column("images", Integer, nullable=False),
    #: one bit an image, the first one in the highest bit of the first byte: 1 where the last evaluation got it right
    Column("bits", LargeBinary, nullable=False),
)

#: Each time that a worker trained a trial.
attempt = Table(
    "cs_attempt",
    metadata,
    Column("trial_id", ForeignKey("cs_trial.trial_id"), primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("worker_id", String(200), nullable=False),
    _moment("started_at"),
    _moment("ended_at", nullable=True),
    #: why it ended; empty while the lease is held
    Column("ending", String(16)),
    Column("first_step", BigInteger, nullable=False),
    Column("error", Text),
    Column("traceback", Text),
    #: what it trained with, the images' digest among it; empty in older rows, where the worker's row says it
    Column("device", Text),
    #: JSON
    Column("versions", Text),
    #: the digest of all that decides its rows, `training.identity.rows_identity`; empty where it is not known
    Column("identity", String(64), index=True),
)

#: Checkpoints of a trial that others begin from. A row without a path: somebody is to begin there.
branch = Table(
    "cs_branch",
    metadata,
    Column("trial_id", ForeignKey("cs_trial.trial_id"), primary_key=True, autoincrement=False),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    #: the digest of all that decides the rows of the steps before it
    Column("identity", String(64)),
    Column("path", Text),
    Column("sha256", String(64)),
    Column("bytes", BigInteger),
    #: the digest of the rows before the step that came with it, those of timing left out; see `digests`
    Column("rows_digest", String(64)),
)

#: Workers: where they ran, with what, and when they were last heard of.
worker = Table(
    "cs_worker",
    metadata,
    Column("worker_id", String(200), primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("device", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    #: JSON of what ran: python, torch, driver ...
    Column("versions", Text, nullable=False),
    _moment("started_at"),
    _moment("ended_at", nullable=True),
    Column("clock", String(64), nullable=False),
    Column("beat", Double, nullable=False),
)

#: Every value of every metric. `v_metric` has the same with names.
metric = Table(
    "cs_metric",
    metadata,
    # No foreign key: the guard has just locked the trial, and a check per row halves the rows per second.
    Column("trial_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(64), primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    #: empty where `kind` says what number it was
    Column("value", Double),
    #: nan, inf, -inf or -0: the numbers that not every database gives back
    Column("kind", String(4)),
    sqlite_with_rowid=False,
)

#: Who is to be told when a study is over: until they are, by whichever worker has the same target.
watch = Table(
    "cs_watch",
    metadata,
    Column("study_id", ForeignKey("cs_study.study_id"), primary_key=True, autoincrement=False),
    #: a digest of the address or command
    Column("target", String(16), primary_key=True),
)

#: Events that a worker has told people of, or is about to, each with the target's digest before it.
notice = Table(
    "cs_notice",
    metadata,
    Column("event", String(200), primary_key=True),
    #: names the claim, so that it is found again where the answer to its COMMIT was lost
    Column("token", String(32), nullable=False),
    _moment("claimed_at"),
    #: empty while the worker that claimed it tells it, and for good where it was killed then
    _moment("told_at", nullable=True),
)

#: What people note about a study, or about one of its trials.
note = Table(
    "cs_note",
    metadata,
    Column("note_id", _Id, primary_key=True),
    Column("study_id", ForeignKey("cs_study.study_id"), nullable=False, index=True),
    Column("trial_id", ForeignKey("cs_trial.trial_id")),
    Column("text", Text, nullable=False),
    _moment("written_at"),
)
