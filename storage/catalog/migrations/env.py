"""Run by Alembic: applies the migrations on the connection that `storage.catalog.schema.migrate` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
