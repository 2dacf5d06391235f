"""Run by Alembic with the connection that :func:`alframe.storage.migrations.upgrade` holds; not to be imported."""

from __future__ import annotations

from alembic import context

from alframe.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
