import pytest
import torch

from engine.contract.phases import MODALITIES
from research.omissions import OMISSIONS, omitting
from tests.tiny_nano import tiny_nano


def seen_weights(omission: str | None, taus: list[float]) -> torch.Tensor:
    """The modal weights that reach the transformer when everything is asked to weigh 0.7."""
    transformer, seen = tiny_nano().transformer, []
    original = transformer.forward
    transformer.forward = lambda *given, **named: seen.append(named["modal_weights"]) or original(*given, **named)
    rows = len(taus)
    with omitting(transformer, omission), torch.no_grad():
        transformer(
            torch.zeros(rows, 36, 3, 8, 8),
            torch.tensor(taus),
            torch.zeros(rows, 8, 8),
            torch.zeros(rows, 16, 8),
            encoder_hidden_states_audio=torch.zeros(rows, 9, 5, 1, 8),
            modal_weights=torch.full((rows, 3), 0.7),
        )
    return seen[0]


@pytest.mark.parametrize(
    ("omission", "expected"),
    [("audio early", [0, 0, 1, 1]), ("text early and middle", [0, 0, 0, 1]), ("image", [0, 0, 0, 0])],
)
def test_an_omission_takes_its_modality_away_in_its_phase_alone(omission, expected):
    weights = seen_weights(omission, [1000.0, 700.0, 500.0, 100.0])
    column = MODALITIES.index(OMISSIONS[omission][0])
    assert weights[:, column].tolist() == expected
    others = [index for index in range(3) if index != column]
    assert torch.equal(weights[:, others], torch.full((4, 2), 0.7))


def test_no_omission_changes_nothing_and_none_outlasts_its_block():
    assert torch.equal(seen_weights(None, [900.0]), torch.full((1, 3), 0.7))
    transformer = tiny_nano().transformer
    with omitting(transformer, "image"):
        pass
    assert not transformer._forward_pre_hooks
