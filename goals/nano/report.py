"""The clips of nano's page, and how to read it. Knows nothing about how anything was measured."""

from collections.abc import Sequence

from goals.goal import table
from goals.nano.rows import REST_OPEN_APERTURE, ClipMeasurement

CLIP_COLUMNS = (
    "portrait", "speech", "seed", "frames video / sound / voice", "r", "lag", "p", "null 95 %", "viseme r", "coverage",
    "silence", "PSNR dB", "sharpness", "worst frame",
)  # fmt: skip

EXPLANATION = f"""\
How to read it. `proxy/mesh_lip_r` is the signed Pearson r between the opening of the inner lips (FaceMesh landmarks 13
and 14 over the distance of the outer eye corners) and the log energy of the 300–3500 Hz band, over voiced frames, at
the best lag within ± 15 frames; a positive lag means that the mouth is behind the sound. p and the null's 95 % come
from circular shifts of the mouth by 31 … F − 31 frames through the same search over lags. Unrelated tracks of this
length fall below p = 0.05 in about 15 % of clips, so the count over all clips says more than the p of one. Speech
energy is a proxy: nothing was tuned to it. `viseme r` is the same against the openness of the phones that pocketsphinx
hears, for the English clips.
Silence: (mean opening of the last 1.5 s of 2 s of digital silence − 5th percentile) / (mean opening in speech − 5th
percentile). A portrait is open at rest above {REST_OPEN_APERTURE} eye distances.
PSNR is that of the worst frame, over the pixels that no part of a person comes near, against the even-sized
picture. Sharpness is the variance of the luma's Laplacian in the box of the portrait's landmarks, over the portrait's
own; the table of goals takes each clip's median frame.
Nano never saw these portraits or voices, and nothing of it was chosen by them. The warp that draws them was looked at
on the portraits while it was built: what was mended after that (teeth that a portrait shows, lip rims, lid and tooth
tones, folds) is in LOG.md, so the picture's rows are not those of unseen portraits.
"""


def clips_markdown(clips: Sequence[ClipMeasurement], machine: str) -> str:
    """Every clip's numbers, and the errors of those that failed."""
    errors = [f"- {clip.portrait} with {clip.speech}: {clip.error}" for clip in clips if clip.error]
    parts = [
        "## Clip by clip",
        f"Measured on {machine}.",
        table(CLIP_COLUMNS, [_clip_cells(clip) for clip in clips]),
        *(["Failed:\n\n" + "\n".join(errors)] if errors else []),
    ]
    return "\n\n".join(parts)


def _clip_cells(clip: ClipMeasurement) -> list[str]:
    lips = clip.mesh_lip_r
    rest = " (open at rest)" if clip.open_at_rest else ""
    return [
        clip.portrait,
        clip.speech,
        str(clip.seed),
        f"{_number(clip.video_frames, 'd')} / {_number(clip.sound_frames, 'd')} / {clip.audio_frames}",
        *([f"{lips.r:.3f}", f"{lips.lag_frames:+d}", f"{lips.p:.3f}", f"{lips.null_95:.3f}"] if lips else ["–"] * 4),
        f"{clip.viseme_r.r:.3f}" if clip.viseme_r else "–",
        _number(clip.coverage, ".0%"),
        _number(clip.silence_opening, ".1%") + rest,
        _number(clip.psnr_db, ".1f"),
        _number(clip.sharpness, ".2f"),
        _number(clip.worst_sharpness, ".2f"),
    ]


def _number(value: float | None, style: str) -> str:
    return "–" if value is None else f"{value:{style}}"
