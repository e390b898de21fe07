"""Find the nodes that changed lately without reading them all."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("ix_nodes_updated_at", "nodes", ["updated_at"])
    op.create_index("ix_nodes_created_at", "nodes", ["created_at"])
