"""What the bundled nano promises on held-out synthetic speech: its lips, its closures on p, b and m, its words."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.contract.variants import NANO
from engine.nano.encoders import level
from engine.nano.model import NanoModel
from trainer.data.speech.corpus import Track
from trainer.metrics.bilabials import held_out_closures
from trainer.metrics.held_out import CLIPS, HELD_OUT_SPLITS, aperture_r, held_out_tracks
from trainer.metrics.text_control import held_out_text_control

LEAST_R, LEAST_OF_REGRESSOR, LEAST_CLOSED, LEAST_RECOGNISED = 0.83, 0.95, 0.9, 0.9


def prove(folder: Path) -> Iterator[tuple[str, str, bool]]:
    """The rows of the bundled nano; minutes on one core. Nothing is kept in `folder`."""
    del folder
    model = NanoModel.load(NANO.folder)
    tracks = list(held_out_tracks(HELD_OUT_SPLITS, CLIPS))
    yield from lips(model, tracks)
    closures = held_out_closures(model)
    yield (
        f"nano, lips close on p, b and m of held-out voices: >= {LEAST_CLOSED:.0%}",
        f"{closures.closed} of {closures.total}, {closures.share:.1%}",
        closures.share >= LEAST_CLOSED,
    )
    control = held_out_text_control(model)
    asked = ", ".join(f"{idea} {control.recognised[idea]} of {count}" for idea, count in control.asked.items())
    yield (
        f"nano, held-out prompts whose motion a rule recognises: >= {LEAST_RECOGNISED:.0%}",
        f"{control.share:.0%} ({asked}); false alarms in {control.unasked} clips without words: "
        f"{sum(control.false_alarms.values())}",
        control.share >= LEAST_RECOGNISED,
    )


def lips(model: NanoModel, tracks: Sequence[Track]) -> Iterator[tuple[str, str, bool]]:
    """How the lips follow the true mouth, alone and against the audio encoder's own head, a plain regressor that was
    trained on the same corpus."""
    own = np.array([aperture_r(model, NANO.default_settings, track, seed) for seed, track in enumerate(tracks)])
    middle, low = np.percentile(own, [50, 10])
    yield (
        f"nano, {len(tracks)} clips of held-out voices, generated against true aperture: mean r >= {LEAST_R}",
        f"{own.mean():.3f} (median {middle:.3f}, 10th percentile {low:.3f})",
        bool(own.mean() >= LEAST_R),
    )
    plain = regressed_r(model, tracks)
    yield (
        f"nano, the same over the r of its audio encoder's head, a plain regressor: >= {LEAST_OF_REGRESSOR}",
        f"{own.mean() / plain.mean():.3f} (the head: {plain.mean():.3f})",
        bool(own.mean() >= LEAST_OF_REGRESSOR * plain.mean()),
    )


@torch.no_grad()
def regressed_r(model: NanoModel, tracks: Sequence[Track]) -> NDArray[np.float64]:
    """Pearson r of the aperture that the audio encoder's head hears and the true one, for each track."""
    encoder = model.audio_encoder
    heard = [encoder.head(encoder(torch.from_numpy(level(track.wave))[None]))[0, :, 0].numpy() for track in tracks]
    return np.array([np.corrcoef(one, track.curves[:, 0])[0, 1] for one, track in zip(heard, tracks, strict=True)])
