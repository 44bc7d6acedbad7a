import pytest
import torch
from torch import nn

from trainer.loop.ema import EMA, stage_decay


def test_shadow_forgets_the_start_and_follows_a_constant_weight():
    model = nn.Linear(2, 2)
    ema = EMA(model, decay=0.9)
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(3.0)
    for _ in range(100):
        ema.update(model)
    for shadow in ema.shadow.values():
        torch.testing.assert_close(shadow, torch.full_like(shadow, 3.0), atol=1e-3, rtol=0)


def test_shadow_is_the_mean_of_a_swinging_weight():
    model = nn.Linear(1, 1, bias=False)
    ema = EMA(model, decay=0.99)
    for step in range(2000):
        with torch.no_grad():
            model.weight.fill_(1.0 if step % 2 else -1.0)
        ema.update(model)
    assert ema.shadow["weight"].abs().item() < 0.02


def test_state_comes_back():
    model = nn.Linear(2, 2)
    ema, other = EMA(model, 0.9), EMA(nn.Linear(2, 2), 0.9)
    ema.update(model)
    other.load_state_dict(ema.state_dict())
    assert other.steps == 1
    torch.testing.assert_close(other.shadow["weight"], ema.shadow["weight"])


@pytest.mark.parametrize("steps", [1, 7, 400])
def test_a_stage_leaves_its_share_to_what_was_before(steps: int):
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    average = EMA(model, stage_decay(0.3, steps), seen=10**6)
    nn.init.zeros_(model.weight)
    for _ in range(steps):
        average.update(model)
    assert float(average.shadow["weight"]) == pytest.approx(0.3, abs=1e-4)
