import numpy as np
import torch

from engine.nano.face_motion import lip_cells, slot_cells
from trainer.loop.flow import FlowBatch, flow_loss
from trainer.subjects.nano_batches import closure_mask


def test_lips_count_more_in_latent_frames_that_hold_a_closure_and_nothing_else_does():
    closed = np.zeros((2, 13), bool)
    closed[0, 0] = True  # the reference's own frame
    closed[1, 6] = True  # in the second of three latent frames behind it
    mask = closure_mask(closed, 3.0)
    lips = lip_cells() * (1 - slot_cells()) > 0
    assert mask.shape == (2, 1, 4, 8, 8)
    assert (mask[0] == 1).all() and (mask[1, 0, [0, 1, 3]] == 1).all()
    assert (mask[1, 0, 2][lips] == 3).all() and (mask[1, 0, 2][~lips] == 1).all()


def test_the_loss_grows_by_what_an_error_counts():
    zeros, wrong = torch.zeros(1, 16, 4, 8, 8), torch.zeros(1, 16, 4, 8, 8)
    closed = np.zeros((1, 13), bool)
    closed[0, 6] = True
    lips = lip_cells() * (1 - slot_cells()) > 0
    wrong[:, :, 2, lips] = 1.0
    plain = FlowBatch(zeros, zeros, torch.ones(1), {})
    weighed = FlowBatch(zeros, zeros, torch.ones(1), {}, closure_mask(closed, 3.0))
    even = torch.ones(8, 8)
    torch.testing.assert_close(flow_loss(wrong, weighed, even), 3 * flow_loss(wrong, plain, even))
