"""The first clips to label where there are none: of the bundled examples, by the bundled nano, through the queue.

Two moods make the same face do much and little, so that there is something to tell apart.
"""

from engine.contract.errors import UserError
from engine.contract.variants import NANO, find_variant
from studio.examples import Examples
from studio.review.desk import Candidates, NewBatch, ReviewDesk
from studio.review.store import Batch
from studio.words import tr

MOST_CLIPS = 12
PROMPTS = ("calm", "lively")


def clip_count(desk: ReviewDesk, examples: Examples) -> int:
    """How many clips `label_examples` makes: what one visitor may have waiting, and none without examples."""
    if not examples.portraits or not examples.voices:
        return 0
    candidates = _candidates(examples, _allowed(desk))
    return len(candidates.images) * len(candidates.voices) * len(candidates.prompts) * candidates.seeds


def label_examples(desk: ReviewDesk, annotator: str, owner: str, examples: Examples) -> Batch:
    """A batch of them; the clips come as they get ready. Raises UserError where the queue is full."""
    if not clip_count(desk, examples):
        raise UserError("This studio has no examples; add clips of your own.", "batch")
    model = desk.studio.model if find_variant(desk.studio.model).is_nano else NANO.name
    wanted = NewBatch(annotator, tr("Bundled examples"))
    return desk.generate(wanted, owner, model, _candidates(examples, _allowed(desk)))


def _allowed(desk: ReviewDesk) -> int:
    return min(MOST_CLIPS, desk.studio.limits.jobs_per_visitor or MOST_CLIPS)


def _candidates(examples: Examples, most: int) -> Candidates:
    """At most `most` clips of different faces, voices and moods, in this order; the rest of them by seeds."""
    images, voices, prompts = examples.portraits[:3], examples.voices[:2], list(PROMPTS)
    if len(images) * len(voices) * len(prompts) > most:
        prompts = prompts[:1]
    if len(images) * len(voices) > most:
        voices = voices[:1]
    images = images[:most]
    return Candidates(images, voices, prompts, most // (len(images) * len(voices) * len(prompts)))
