"""Alembic's entry: runs the migrations on the connection and in the transaction that `cifarsweep.store` hands over."""

from alembic import context
from cifarsweep.store.schema import PREFIX, VERSION_TABLE, metadata


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """Leave the tables of others in the same database alone, Optuna's above all."""
    return kind != "table" or (name or "").startswith(PREFIX)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=ours,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
