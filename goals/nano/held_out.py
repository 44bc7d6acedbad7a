"""What the bundled nano promises on held-out synthetic speech: its lips, its closures on p, b and m, its words."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from engine.contract.variants import NANO
from engine.nano.encoders import level
from engine.nano.model import NanoModel
from goals.goal import Row, at_least, mean_interval, share_interval
from trainer.data.speech.corpus import Track
from trainer.metrics.bilabials import held_out_closures
from trainer.metrics.held_out import CLIPS, HELD_OUT_SPLITS, aperture_r, held_out_tracks
from trainer.metrics.text_control import held_out_text_control

LEAST_R, LEAST_MEDIAN_R, LEAST_LOW_R = 0.83, 0.85, 0.50
LEAST_OF_REGRESSOR, LEAST_CLOSED, LEAST_TOUCHED, LEAST_RECOGNISED = 0.95, 0.9, 0.95, 0.9


def measure_rows() -> Iterator[Row]:
    """The rows of the bundled nano; minutes on one core."""
    model = NanoModel.load(NANO.folder)
    yield from lips(model, list(held_out_tracks(HELD_OUT_SPLITS, CLIPS)))
    bilabials = held_out_closures(model)
    for what, counted, least in (
        ("lips close on p, b and m of held-out voices", bilabials.closures, LEAST_CLOSED),
        ("lips touch (< 1 mm) on p, b and m of held-out voices", bilabials.contacts, LEAST_TOUCHED),
    ):
        low, high = share_interval(counted.closed, counted.total)
        measured = f"{counted.closed} of {counted.total}, {counted.share:.1%} (95 % {low:.0%} to {high:.0%})"
        yield Row(what, f"≥ {least:.0%}", measured, counted.share >= least)
    control = held_out_text_control(model)
    asked = ", ".join(f"{idea} {control.recognised[idea]} of {count}" for idea, count in control.asked.items())
    yield Row(
        "held-out prompts whose motion a rule recognises",
        f"≥ {LEAST_RECOGNISED:.0%}",
        f"{control.share:.0%} ({asked}); false alarms in {control.unasked} clips without words: "
        f"{sum(control.false_alarms.values())}",
        control.share >= LEAST_RECOGNISED,
    )


def lips(model: NanoModel, tracks: Sequence[Track]) -> Iterator[Row]:
    """How the lips follow the true mouth, alone and against the audio encoder's own head, a plain regressor that was
    trained on the same corpus."""
    own = np.array([aperture_r(model, NANO.default_settings, track, seed) for seed, track in enumerate(tracks)])
    what = f"{len(tracks)} clips of held-out voices, generated against true aperture"
    low, high = mean_interval(own)
    yield at_least(f"{what}: mean r", float(own.mean()), LEAST_R, ".3f", more=f" (95 % {low:.3f} to {high:.3f})")
    yield at_least(f"{what}: median r", float(np.median(own)), LEAST_MEDIAN_R, ".3f")
    yield at_least(f"{what}: 10th percentile of r", float(np.percentile(own, 10)), LEAST_LOW_R, ".3f")
    plain = regressed_r(model, tracks)
    more = f" (the head: {plain.mean():.3f})"
    ratio = float(own.mean() / plain.mean())
    yield at_least(
        "the same over the r of its audio encoder's head, a plain regressor",
        ratio,
        LEAST_OF_REGRESSOR,
        ".3f",
        more=more,
    )


@torch.no_grad()
def regressed_r(model: NanoModel, tracks: Sequence[Track]) -> NDArray[np.float64]:
    """Pearson r of the aperture that the audio encoder's head hears and the true one, for each track."""
    encoder = model.audio_encoder
    heard = [encoder.head(encoder(torch.from_numpy(level(track.wave))[None]))[0, :, 0].numpy() for track in tracks]
    return np.array([np.corrcoef(one, track.curves[:, 0])[0, 1] for one, track in zip(heard, tracks, strict=True)])
