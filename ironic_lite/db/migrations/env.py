"""What alembic runs: the migrations over one connection of the URL that `db/migrate.py` gave."""

import sqlalchemy as sa
from alembic import context

from ironic_lite.db.deadlines import Limits, bounded_engine
from ironic_lite.db.tables import metadata

# A statement of a migration rewrites a whole table, and may take its time; it ends all the same.
MAX_STATEMENT_S = 3600

engine = bounded_engine(context.config.attributes["url"], Limits(MAX_STATEMENT_S), poolclass=sa.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
