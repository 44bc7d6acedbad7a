"""Evaluates the transformer for every branch and window of a step: what each reads, how rows share a forward.

Knows nothing about schedulers, blending or guidance scales. Departure: where a clip has a reference, a window sees it
in a slot in front of its content (see `engine.sampling.tasks`); the slot's own prediction is used for latent 0 alone.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from engine.contract.errors import NotFinite
from engine.contract.phases import Boosts
from engine.sampling.condition_cache import ConditionCache
from engine.sampling.guidance import AUDIBLE, UNCONDITIONAL
from engine.sampling.long_video import Window
from engine.sampling.phase_negative import NegativeText
from engine.sampling.step_cache import StepCache
from engine.sampling.tasks import FRAMES_PER_LATENT, to_video_frames

MAX_ROWS = 8
"""Windows times branches in one forward at the most; more cost memory and gain nothing on a CPU."""
BATCHED_TOKENS = 1000
"""A forward of more tokens than this is a row alone: batching it would gain nothing and take more memory."""

Row = tuple[str, Window]


@dataclass(frozen=True)
class Conditions:
    """All the transformer is told about a clip of T latent and F = 4 (T - 1) + 1 video frames."""

    known: Tensor
    """Mask and masked latents of the clip [1, 20, T, h, w]."""
    text: Tensor
    """The prompt [1, L, C_text]."""
    negative: NegativeText
    """What the unconditional branch reads, by phase."""
    image: Tensor | None
    """The picture's tokens [1, N, C_image]; None for a model without them."""
    audio: Tensor
    """Speech features, any whole number of tokens per video frame: [1, 2F, C_audio] or [1, F, 5, layers, C_audio].
    Zeros of that shape are the null condition."""
    reference: Tensor | None = None
    """The picture's latent [1, 16, 1, h, w], which latent 0 of the clip is; None where latent 0 is generated."""
    slot: Tensor | None = None
    """Mask and masked latents in front of a window that does not begin the clip [1, 20, 1, h, w]; with `reference`."""
    face_mask: Tensor | None = None
    """Where audio may act, [1, tokens of a latent frame]; None is everywhere."""

    @property
    def first_content(self) -> int:
        """The first latent frame that windows cover: what is behind the reference, or everything."""
        return 0 if self.reference is None else 1


@dataclass(frozen=True)
class Moment:
    """Where the clip is: latents x [1, 16, T, h, w], float32, at noise level sigma, and what the step asks for."""

    x: Tensor
    slot_noise: Tensor
    """What the reference in front of a window is noised with [1, 16, 1, h, w]."""
    sigma: float
    tau: Tensor
    modal_weights: Tensor
    boosts: Boosts | None


@dataclass
class Forwards:
    """The forwards of one clip. `workers` of them run at a time: on a busy CPU that is many times faster than one with
    as many threads, which wait for each other. With a step cache they run one by one."""

    transformer: nn.Module
    clip: Conditions
    windows: Sequence[Window]
    audio_scale: float
    workers: int = 1
    step_cache: StepCache | None = None
    keep_conditions: bool = True
    _kept: ConditionCache = field(default_factory=ConditionCache)
    _boosts: Boosts | None = None

    def predict(
        self, branches: Sequence[str], moment: Moment, report: Callable[[float], None]
    ) -> Iterator[tuple[str, Window, Tensor]]:
        """The velocity of every branch in every window, [16, slot + length, h, w] each, as they come.

        `report` hears the share of the forwards done after each. Raises NotFinite for numbers that overflowed.
        """
        if moment.boosts != self._boosts:
            self._kept.forget(lambda name: isinstance(name, Boosts))
            self._boosts = moment.boosts
        most = MAX_ROWS if self._tokens() <= BATCHED_TOKENS else 1
        size = most if self.step_cache else min(most, -(-len(branches) * len(self.windows) // self.workers))
        # Rows of one forward are of one branch where a step cache keeps them apart.
        groups = [[branch] for branch in branches] if self.step_cache else [list(branches)]
        chunks: list[list[Row]] = []
        for group in groups:
            for alike in self._by_length():
                rows = [(branch, window) for branch in group for window in alike]
                chunks += [rows[start : start + size] for start in range(0, len(rows), size)]
        with ThreadPoolExecutor(1 if self.step_cache else self.workers) as pool:
            for done, (rows, velocity) in enumerate(
                zip(chunks, pool.map(lambda rows: self._velocity(rows, moment), chunks), strict=True), start=1
            ):
                if not bool(torch.isfinite(velocity).all()):
                    raise NotFinite
                yield from ((*row, prediction) for row, prediction in zip(rows, velocity, strict=True))
                report(done / len(chunks))

    def has_one_text(self, boosts: Boosts | None) -> bool:
        """Whether the negative text is the text: no prompt, and nothing to avoid."""
        return torch.equal(self.clip.negative.at(boosts), self.clip.text)

    def _by_length(self) -> list[list[Window]]:
        """The windows of each length, which can share a forward."""
        lengths = sorted({window.stop - window.start for window in self.windows})
        return [[window for window in self.windows if window.stop - window.start == length] for length in lengths]

    def _tokens(self) -> int:
        """Tokens of one row."""
        frames = max(window.stop - window.start for window in self.windows) + self.clip.first_content
        patch = getattr(getattr(self.transformer, "config", None), "patch_size", (1, 2, 2))
        height, width = self.clip.known.shape[-2:]
        return frames * (height // patch[1]) * (width // patch[2])

    def _velocity(self, rows: list[Row], moment: Moment) -> Tensor:
        if self.step_cache is None:
            return self._forward(rows, moment)
        branch, window = rows[0]
        # The unconditional branch of another phase is another condition: it has a state of its own.
        phase = moment.boosts if branch == UNCONDITIONAL else None
        with self.step_cache.context(f"{branch} {window.start} {len(rows)} {phase}"):
            return self._forward(rows, moment)

    @torch.inference_mode()
    def _forward(self, rows: list[Row], moment: Moment) -> Tensor:
        clip, count = self.clip, len(rows)

        def exact(numbers: Tensor) -> Tensor:
            # On the conditions' device, but never in their dtype: bfloat16 holds no integer above 256 for certain.
            return numbers.to(clip.known.device, torch.float32)

        names = zip(*(self._names(branch, moment, window) for branch, window in rows), strict=True)
        velocity: Tensor = self.transformer(
            torch.cat([self._window_input(window, moment) for _, window in rows]),
            exact(moment.tau).expand(count),
            torch.cat(
                [clip.negative.at(moment.boosts) if branch == UNCONDITIONAL else clip.text for branch, _ in rows]
            ),
            None if clip.image is None else clip.image.expand(count, -1, -1),
            encoder_hidden_states_audio=torch.cat([self._window_audio(branch, window) for branch, window in rows]),
            modal_weights=exact(moment.modal_weights).expand(count, -1),
            face_mask=None if clip.face_mask is None else clip.face_mask.expand(count, -1),
            audio_scale=self.audio_scale,
            cached=self._kept.rows(*names) if self.keep_conditions else None,
            skip_blocks=self.step_cache.skip_blocks if self.step_cache else None,
            return_dict=False,
        )[0]
        return velocity

    def _names(self, branch: str, moment: Moment, window: Window) -> tuple[Hashable, Hashable, Hashable]:
        """The names of a row's text, image and audio. Silence is the same in all windows of one length."""
        text: Hashable = moment.boosts if branch == UNCONDITIONAL else "prompt"
        return text, "picture", window if branch == AUDIBLE else window.stop - window.start

    def _window_input(self, window: Window, moment: Moment) -> Tensor:
        """What the transformer reads for a window: its slot, if it has one, and its content, [1, 36, ..., h, w]."""
        clip, x = self.clip, moment.x
        content = slice(window.start, window.stop)
        inside = torch.cat([x[:, :, content].to(clip.known), clip.known[:, :, content]], dim=1)
        if clip.reference is None or clip.slot is None:
            return inside
        if window.start == clip.first_content:
            front = torch.cat([x[:, :, :1].to(clip.known), clip.known[:, :, :1]], dim=1)
        else:
            noisy = (1 - moment.sigma) * clip.reference + moment.sigma * moment.slot_noise
            front = torch.cat([noisy.to(clip.slot), clip.slot], dim=1)
        return torch.cat([front, inside], dim=2)

    def _window_audio(self, branch: str, window: Window) -> Tensor:
        """The features of a window's video frames, and of the frame before them for its slot; zeros are silence."""
        tokens_per_frame = self.clip.audio.shape[1] // to_video_frames(self.clip.known.shape[2])
        first = FRAMES_PER_LATENT * (window.start - self.clip.first_content)
        last = FRAMES_PER_LATENT * (window.stop - 1)
        heard = self.clip.audio[:, tokens_per_frame * first : tokens_per_frame * (last + 1)]
        return heard if branch == AUDIBLE else torch.zeros_like(heard)
