"""Lip-sync over several voices and several films whose own mouths talk, on the finished files."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from engine.contract.errors import UserError
from engine.contract.places import ASSETS
from engine.media.audio import SAMPLE_RATE_HZ, read_audio
from goals.engine.clips import Studio, look
from goals.goal import Measured, Place, Row, at_least, table
from trainer.metrics.lip_metrics import lip_metrics

FILMS, VOICES = 5, 3
CLIP_S = 5.0
LEAST_R = 0.55


def measure(place: Place) -> Measured:
    """FILMS portraits speak a sentence; each film is then given VOICES others. Raises UserError without examples."""
    portraits = sorted(place.examples.glob("*.jpg"))[:FILMS]
    voices = list(_voices(place))
    if len(portraits) < FILMS or len(voices) <= VOICES:
        raise UserError(
            f"{place.examples} holds {len(portraits)} portraits; {FILMS} are needed: give --examples.", "examples"
        )
    studio = Studio()
    lines, every, controls, outside = [], [], [], []
    for number, portrait in enumerate(portraits):
        own = voices[number % len(voices)]
        film = place.videos / f"film-{portrait.stem}.mp4"
        studio.make({"image": portrait, "audio": own, "out": film, "seed": number})
        before = look(film).apertures()
        for voice in [voice for voice in voices if voice != own][:VOICES]:
            synced = place.videos / f"{portrait.stem}-{voice.stem}.mp4"
            studio.make({"task": "lip-sync", "video": film, "audio": voice, "out": synced, "seed": number})
            heard = read_audio(synced, field="video")
            made, _ = lip_metrics(look(synced).apertures(), heard, english=False)
            control, _ = lip_metrics(before, heard, english=False)
            every.append(made.r)
            controls.append(control.r)
            outside.append(studio.animator.outside)
            lines.append([portrait.stem, voice.stem, f"{made.r:.3f}", f"{made.lag_frames:+d}", f"{control.r:.3f}"])
    better = sum(r > control for r, control in zip(every, controls, strict=True))
    low, high = np.percentile(every, [10, 90])
    name = f"lip-sync, {FILMS} films × {VOICES} voices: `proxy/mesh_lip_r`"
    rows = [
        at_least(
            f"{name}, median", float(np.median(every)), LEAST_R, ".3f", more=f" (10 to 90 %: {low:.3f} to {high:.3f})"
        ),
        Row(
            f"{name} above that of the film's own mouth",
            f"{len(every)} of {len(every)}",
            str(better),
            better == len(every),
        ),
        Row(
            "lip-sync: PSNR outside the lower face, before encoding",
            "infinite",
            "infinite" if not any(outside) else f"a pixel differs by {max(filter(None, outside))}",
            not any(outside),
            by_construction=True,
        ),
    ]
    details = "## Lip-sync, film by film\n\n" + table(("film", "voice", "r", "lag", "the film's own mouth"), lines)
    return Measured(rows, details)


def _voices(place: Place) -> Iterator[Path]:
    """The examples' speech and the bundled sentences, each cut to CLIP_S."""
    for path in [*sorted(place.examples.glob("*.wav")), *sorted((ASSETS / "examples").glob("*.wav"))]:
        cut = place.videos / f"voice-{path.stem}.wav"
        soundfile.write(cut, read_audio(path)[: round(CLIP_S * SAMPLE_RATE_HZ)], SAMPLE_RATE_HZ)
        yield cut
