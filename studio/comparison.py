"""A comparison as the page shows it: both faces in step, the mouth's opening before and now, and one sentence."""

import base64

from engine.contract.comparison import SAME_HEAD_MM, Comparison
from engine.contract.request import GenerationRequest
from engine.contract.variants import find_variant
from studio.job_rows import Job
from studio.words import tr

WIDTH, HEIGHT = 320, 64
FULL_MM = 20.0


def pinned(after: GenerationRequest, job: Job | None) -> tuple[GenerationRequest, GenerationRequest]:
    """What `after` is held against, and itself, both of one seed.

    The settings and the seed of the video that is followed, where its model is the same; else the model's own.
    """
    if job is not None and job.request["model"] == after.model:
        kept = GenerationRequest.model_validate(job.request)
        settings, seed = kept.settings, kept.seed
    else:
        settings, seed = find_variant(after.model).default_settings, 0
    after = after.model_copy(update={"seed": seed})
    return after.model_copy(update={"settings": settings}), after


def shown(comparison: Comparison) -> str:
    """HTML; the video is silent, since the result's own sound may be playing beside it."""
    source = base64.b64encode(comparison.mp4).decode()
    return (
        "<figure class='em-compare'>"
        f"<div class='em-compare-heads'><span>{tr('before')}</span><span>{tr('now')}</span></div>"
        f"<video src='data:video/mp4;base64,{source}' autoplay loop muted playsinline></video>"
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' preserveAspectRatio='none' role='img' "
        f"aria-label='{tr('Opening of the mouth, before and now')}'>"
        f"{_line(comparison.before.opening_mm, 'em-was')}{_line(comparison.after.opening_mm, 'em-is')}</svg>"
        f"<figcaption>{sentence(comparison)}</figcaption></figure>"
    )


def sentence(comparison: Comparison) -> str:
    """What changed, and whether that is more than another seed would change."""
    percent = round(100 * abs(comparison.wider))
    if comparison.mouth_is_same:
        mouth = tr("Mouth as before")
    elif comparison.wider > 0:
        mouth = tr("Mouth {percent} % more open", percent=percent)
    else:
        mouth = tr("Mouth {percent} % less open", percent=percent)
    moved = comparison.head_moves_mm
    head = tr("head as before") if moved < SAME_HEAD_MM else tr("head {mm} mm elsewhere", mm=f"{moved:.1f}")
    said = f"{mouth}, {head}."
    if comparison.is_below_chance:
        said += " " + tr("That is less than another seed changes: drag further, or turn the guidance.")
    return said


def _line(values: tuple[float, ...], name: str) -> str:
    step = WIDTH / max(1, len(values) - 1)
    points = " ".join(
        f"{number * step:.1f},{HEIGHT - 2 - (HEIGHT - 4) * min(1.0, value / FULL_MM):.1f}"
        for number, value in enumerate(values)
    )
    return f"<polyline class='{name}' points='{points}'/>"
