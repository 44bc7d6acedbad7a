"""Soup-of-Tasks: shares are shares, and every sample is told what its task's mask says, no more."""

import numpy as np
import pytest
import torch

from engine.nano.face_motion import lip_cells
from trainer.data.tasks import (
    FIRST_LAST_FRAME,
    IMAGE_TO_VIDEO,
    LIP_SYNC,
    SCHEDULES,
    TRACKING_NOISE,
    conditions,
    draw_tasks,
    mixture,
)

T = 4


@pytest.fixture
def clips() -> torch.Tensor:
    return 1 + torch.rand(2, 16, T, 8, 8, generator=torch.Generator().manual_seed(0))


def told(clips: torch.Tensor, task: str, continuous: bool = True, known_at_end: int = 1) -> torch.Tensor:
    every = np.full(len(clips), 1)
    return conditions(
        clips, np.array([task] * len(clips)), every * continuous, every * known_at_end, torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_shares_of_every_stage_sum_to_one(name: str):
    assert len(SCHEDULES[name]) == 3
    for shares in SCHEDULES[name]:
        assert sum(shares.values()) == pytest.approx(1)


def test_hard_tasks_come_first_and_lip_sync_joins():
    assert [shares.get(LIP_SYNC, 0) for shares in SCHEDULES["hard-to-easy"]] == [0, 0.20, 0.35]
    assert mixture(0.2)[IMAGE_TO_VIDEO] == pytest.approx(0.65 * 0.8)
    assert SCHEDULES["easy-to-hard"] == SCHEDULES["hard-to-easy"][::-1]
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        mixture(1.2)


def test_draws_follow_the_shares():
    drawn = draw_tasks(mixture(0.35), 20000, np.random.default_rng(0))
    assert {task: round(float((drawn == task).mean()), 4) for task in set(drawn)} == pytest.approx(
        mixture(0.35), abs=0.02
    )


def test_a_picture_in_its_time_is_1111_and_out_of_it_1000(clips: torch.Tensor):
    assert told(clips, IMAGE_TO_VIDEO)[0, :4, 0, 0, 0].tolist() == [1, 1, 1, 1]
    assert told(clips, IMAGE_TO_VIDEO, continuous=False)[0, :4, 0, 0, 0].tolist() == [1, 0, 0, 0]
    assert told(clips, LIP_SYNC)[0, :4, 0, 0, 0].tolist() == [1, 0, 0, 0]


def test_image_to_video_knows_the_picture_alone(clips: torch.Tensor):
    row = told(clips, IMAGE_TO_VIDEO)
    assert torch.equal(row[:, 4:, 0], clips[:, :, 0])
    assert not row[:, :, 1:].any()


@pytest.mark.parametrize("known", [1, 2, 3, 4])
def test_first_last_frame_knows_the_last_frames_and_nothing_else_of_their_latent(clips: torch.Tensor, known: int):
    row = told(clips, FIRST_LAST_FRAME, known_at_end=known)
    assert row[0, :4, -1, 0, 0].tolist() == [0] * (4 - known) + [1] * known
    frames = row[:, 4:, -1].unflatten(1, (4, 4))
    assert not frames[:, : 4 - known].any()
    assert torch.equal(frames[:, 4 - known :], clips[:, :, -1].unflatten(1, (4, 4))[:, 4 - known :])
    assert not row[:, :, 1:-1].any()


def test_lip_sync_knows_all_but_the_lower_face_up_to_tracking_noise(clips: torch.Tensor):
    row, generate = told(clips, LIP_SYNC), lip_cells().bool()
    assert not row[:, :, 1:, generate].any()
    assert bool((row[:, :4, 1:, ~generate] == 1).all())
    away = (row[:, 4:, 1:, ~generate] - clips[:, :, 1:, ~generate]).std()
    assert float(away) == pytest.approx(TRACKING_NOISE, rel=0.1)
