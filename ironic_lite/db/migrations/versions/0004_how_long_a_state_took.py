"""A node's history tells of its provision states: which, on the way to which, and how long the one before took."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("node_history") as table:
        table.add_column(sa.Column("project", sa.String(length=80), nullable=True))
        table.add_column(sa.Column("state", sa.String(length=15), nullable=True))
        table.add_column(sa.Column("target_provision_state", sa.String(length=15), nullable=True))
        table.add_column(sa.Column("duration_seconds", sa.Integer(), nullable=True))
