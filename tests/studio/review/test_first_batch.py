"""The first clips to label: of the bundled examples, as many as whoever asks may have waiting."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.contract.errors import UserError
from studio.examples import Examples, find_examples
from studio.review.desk import ReviewDesk
from studio.review.first_batch import MOST_CLIPS, clip_count, label_examples
from studio.service import Limits, Studio

BUNDLED = find_examples(Path(__file__).parents[3] / "assets" / "examples")


@pytest.fixture
def desk(studio: Studio) -> Iterator[ReviewDesk]:
    desk = ReviewDesk(studio)
    yield desk
    desk.store.database.close()


@pytest.mark.parametrize("most", [1, 2, 3, 5, 7, 12, None])
def test_there_are_as_many_as_may_wait_and_no_two_are_alike(desk: ReviewDesk, most: int | None):
    desk.studio = replace(desk.studio, limits=Limits(jobs_per_visitor=most))
    count = clip_count(desk, BUNDLED)
    assert 0 < count <= (most or MOST_CLIPS) and (most is not None or count == MOST_CLIPS)
    made = label_examples(desk, "lead", ":owner", BUNDLED)
    assert desk.collector.waiting(made.id) == count
    jobs = desk.studio.store.recent(":owner", limit=100)
    alike = {(job.request["image"], job.request["audio"], job.request["prompt"], job.request["seed"]) for job in jobs}
    assert len(alike) == len(jobs) == count


def test_without_examples_there_are_none_and_it_is_said(desk: ReviewDesk):
    nothing = Examples((), ())
    assert clip_count(desk, nothing) == 0
    with pytest.raises(UserError, match="no examples"):
        label_examples(desk, "lead", ":owner", nothing)
    assert not desk.store.batches()
