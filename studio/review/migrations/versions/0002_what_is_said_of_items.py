"""Items carry what is said of them and annotators how long they worked, so that agreement is counted, not read."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PAUSE_S = 120.0
SAYINGS = "(SELECT trim(verdict || ' ' || issues) AS saying FROM answers WHERE {} ORDER BY saying) AS sayings"
THEIRS = "item_id = items.id AND verdict NOT IN ('', 'skip')"
JOINED = {"sqlite": "group_concat(saying, '|')", "postgresql": "string_agg(saying, '|' ORDER BY saying)"}


def upgrade() -> None:
    """Make the change."""
    op.add_column("items", sa.Column("said", sa.String(), nullable=False, server_default=""))
    joined = JOINED[op.get_bind().dialect.name]
    op.execute(
        f"UPDATE items SET said = coalesce((SELECT {joined} FROM {SAYINGS.format(THEIRS)}), '') WHERE answers > 0"
    )
    op.create_table(
        "work",
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("at_work_s", sa.Double(), nullable=False),
        sa.Column("pressed_s", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"]),
        sa.PrimaryKeyConstraint("batch_id", "annotator"),
    )
    op.execute(
        "INSERT INTO work SELECT batch_id, annotator,"
        f" sum(CASE WHEN gap_s BETWEEN 0 AND {PAUSE_S} THEN gap_s ELSE 0 END), max(created_s) FROM"
        " (SELECT batch_id, annotator, created_s, created_s - lag(created_s)"
        " OVER (PARTITION BY batch_id, annotator ORDER BY number) AS gap_s FROM events) AS gaps"
        " GROUP BY batch_id, annotator"
    )
    gold = sa.text("gold IS NOT NULL")
    op.create_index("gold_items", "items", ["batch_id"], sqlite_where=gold, postgresql_where=gold)
    op.drop_index("ix_answers_batch_id", "answers")
    op.create_index("answers_of_annotator", "answers", ["batch_id", "annotator", "verdict"])
    op.execute("DELETE FROM leases WHERE rank >= 0 AND item_id IN (SELECT id FROM items WHERE NOT open)")
    op.drop_index("leases_of_annotator", "leases")
    op.create_index("leases_of_annotator", "leases", ["batch_id", "annotator", "rank"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index("leases_of_annotator", "leases")
    op.create_index("leases_of_annotator", "leases", ["batch_id", "annotator"])
    op.drop_index("answers_of_annotator", "answers")
    op.create_index("ix_answers_batch_id", "answers", ["batch_id"])
    op.drop_index("gold_items", "items")
    op.drop_table("work")
    op.drop_column("items", "said")
