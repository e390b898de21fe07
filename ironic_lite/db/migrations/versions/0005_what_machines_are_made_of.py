"""BIOS settings, firmware and inventory of machines."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"

TIMESTAMP = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

EXACT = sa.String(255).with_variant(sa.String(255, collation="utf8mb4_bin"), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "bios_settings",
        sa.Column("node_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("name", EXACT, nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("updated_at", TIMESTAMP, nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("attribute_type", sa.String(length=255), nullable=True),
        sa.Column("allowable_values", sa.JSON(), nullable=True),
        sa.Column("lower_bound", sa.BigInteger(), nullable=True),
        sa.Column("upper_bound", sa.BigInteger(), nullable=True),
        sa.Column("min_length", sa.BigInteger(), nullable=True),
        sa.Column("max_length", sa.BigInteger(), nullable=True),
        sa.Column("read_only", sa.Boolean(), nullable=True),
        sa.Column("reset_required", sa.Boolean(), nullable=True),
        sa.Column("unique", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_bios_settings_node_id"),
        sa.PrimaryKeyConstraint("node_id", "name", name="pk_bios_settings"),
    )
    op.create_table(
        "firmware_information",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("updated_at", TIMESTAMP, nullable=True),
        sa.Column("node_id", BIG_ID, nullable=False),
        sa.Column("component", EXACT, nullable=False),
        sa.Column("initial_version", sa.String(length=255), nullable=False),
        sa.Column("current_version", sa.String(length=255), nullable=True),
        sa.Column("last_version_flashed", sa.String(length=255), nullable=True),
        sa.Column("vendor", sa.String(length=255), nullable=True),
        sa.Column("model", sa.String(length=255), nullable=True),
        sa.Column("serial_number", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_firmware_information_node_id"),
        sa.PrimaryKeyConstraint("id", name="pk_firmware_information"),
        sa.UniqueConstraint("node_id", "component", name="uq_firmware_information_node_id_component"),
    )
    op.create_table(
        "node_inventory",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("updated_at", TIMESTAMP, nullable=True),
        sa.Column("node_id", BIG_ID, nullable=False),
        sa.Column("inventory_data", sa.JSON(), nullable=False),
        sa.Column("plugin_data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_node_inventory_node_id"),
        sa.PrimaryKeyConstraint("id", name="pk_node_inventory"),
        sa.UniqueConstraint("node_id", name="uq_node_inventory_node_id"),
    )
