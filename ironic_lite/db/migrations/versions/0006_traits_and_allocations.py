"""Traits of nodes, and allocations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"

TIMESTAMP = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "node_traits",
        sa.Column("node_id", BIG_ID, nullable=False),
        sa.Column("trait", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("node_id", "trait", name="pk_node_traits"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_node_traits_node_id", ondelete="CASCADE"),
    )
    op.create_index("ix_nodes_id_instance_uuid", "nodes", ["id", "instance_uuid"], unique=True)
    op.create_table(
        "allocations",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("updated_at", TIMESTAMP, nullable=True),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("node_id", BIG_ID, nullable=True),
        sa.Column("state", sa.String(length=15), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("resource_class", sa.String(length=80), nullable=True),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("traits", sa.JSON(), nullable=False),
        sa.Column("candidate_nodes", sa.JSON(), nullable=False),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.Column("conductor_affinity", BIG_ID, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_allocations"),
        sa.UniqueConstraint("uuid", name="uq_allocations_uuid"),
        sa.UniqueConstraint("name", name="uq_allocations_name"),
        sa.UniqueConstraint("node_id", name="uq_allocations_node_id"),
        sa.ForeignKeyConstraint(
            ["node_id", "uuid"],
            ["nodes.id", "nodes.instance_uuid"],
            name="fk_allocations_node_id_uuid",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["conductor_affinity"], ["conductors.id"], name="fk_allocations_conductor_affinity", ondelete="SET NULL"
        ),
    )
    op.create_index("ix_allocations_state", "allocations", ["state"])
    op.create_index("ix_allocations_conductor_affinity", "allocations", ["conductor_affinity"])
