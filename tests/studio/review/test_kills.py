"""What was acknowledged survives kill -9; `make proof-review` does it a hundred times."""

from pathlib import Path

from goals.review.kills import label_through_kills


def test_no_acknowledged_label_is_lost_or_doubled(tmp_path: Path):
    outcome = label_through_kills(f"sqlite:///{tmp_path / 'review.sqlite'}", tmp_path, kills=3, clips=60)
    assert outcome.labels > 3
    assert outcome.acknowledged > 0
    assert (outcome.lost, outcome.doubled, outcome.answers_off) == (0, 0, 0)
