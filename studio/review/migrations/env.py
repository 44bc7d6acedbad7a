"""Runs migrations on the connection that `studio.review.database` hands over; there is no other way to call them."""

from alembic import context

from studio.review.rows import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
