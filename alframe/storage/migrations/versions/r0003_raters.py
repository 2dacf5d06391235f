"""Several raters: what each of them chose against the others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, empty: campaigns begun before have it from their next round on."""
    op.create_table(
        "confusions",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("rater", sa.Text(), nullable=False),
        sa.Column("agreed", sa.Integer(), nullable=False),
        sa.Column("chosen", sa.Integer(), nullable=False),
        sa.Column("pixels", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("campaign", "round", "rater", "agreed", "chosen", name="pk_confusions"),
        sa.ForeignKeyConstraint(
            ["campaign", "round"], ["rounds.campaign", "rounds.round"], name="fk_confusions_rounds"
        ),
    )
