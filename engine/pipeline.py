"""One generation from checked inputs: conditions, denoising, frames, file, record, whatever the model and the task.

The order of a request below `engine.session`. Knows nothing about queues, pages, how a model is found and loaded, or
what its latents mean. Frames are drawn and written one by one, never held all at once; H.264's own threads compress one
while the next is drawn. (A thread of ours for writing is no gain: drawing holds Python's lock, which writing needs.)
"""

import ctypes
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.contract.errors import UserError
from engine.contract.progress import ProgressMeter
from engine.contract.records import METADATA_KEY, GenerationRecord, without_places
from engine.contract.request import FILE_FIELDS, GenerationRequest
from engine.contract.settings import LiveSettings
from engine.contract.variants import FPS
from engine.media.drift import ColourMatch, DriftMeter
from engine.media.inputs import SOUNDTRACK_RATE_HZ, Inputs
from engine.media.video import VideoWriter
from engine.sampling.animator import Animator
from engine.sampling.denoise import Conditions, Stretch, denoise
from engine.sampling.long_video import plan_windows
from engine.sampling.resume import ClipKeeper
from engine.sampling.takes import takes, takes_metadata
from engine.sampling.tasks import FRAMES_PER_LATENT, next_valid_length, to_latent_frames

PREVIEW_EVERY_S = 0.7
PREVIEW_SHARE = 0.1
"""Previews come no faster than this, and take no larger share of the time; the first step's is always painted."""
RESUMED_FROM_S = 30.0
"""Clips that are longer keep their state from step to step, so that a killed job goes on."""
LATENTS_KEY = "latents"

AskLive = Callable[[int], LiveSettings]


def generate(
    animator: Animator,
    inputs: Inputs,
    request: GenerationRequest,
    meter: ProgressMeter,
    *,
    live: AskLive | None = None,
    keep_latents: Path | None = None,
    resume_folder: Path | None = None,
) -> GenerationRecord:
    """Make the video that `request` asks for from `inputs`, write it to `request.out`, return its record.

    The video is as long as the sound, to the nearest frame, at 25 frames per second; lip-sync keeps the film's own
    frames and times. The same request gives the same frames. `live` is asked before every step for the settings that
    may change; what it answered is in the record. A request that only draws takes its latents as they were kept, and
    their seed. `keep_latents` is where the final latents go, `resume_folder` where
    a long clip's state is kept. Whatever `meter`'s callback raises passes through and leaves no file.
    """
    if request.only_draws:
        request = request.model_copy(update={"seed": takes(request)[-1].seed})
    meter.expect(animator.expected_s(inputs, request) | ({"sampling": 0.0} if request.only_draws else {}))
    meter.report("encoding", 0, 1)
    latents, used = _sample(animator, inputs, request, meter, live=live, resume_folder=resume_folder)
    if keep_latents is not None:
        save_file({LATENTS_KEY: latents.contiguous()}, keep_latents, metadata=takes_metadata(request))
    _give_back()
    meter.report("decoding", 0, inputs.output_frames)
    frames = animator.frames(latents, inputs, request)
    first = next(frames)
    height, width = first.shape[:2]
    drift = DriftMeter(_window_frames(animator, inputs, request), _colour_match(inputs, request))
    times_s = inputs.times_s
    record = GenerationRecord(
        request=request,
        settings_by_step=used if any(step != request.settings.live for step in used) else (),
        checkpoint_sha256=animator.checkpoint_sha256,
        inputs_sha256=inputs.sha256,
        face_box=inputs.portrait.face.box if inputs.portrait else None,
        width_px=width,
        height_px=height,
        num_frames=inputs.output_frames,
        fps=FPS if times_s is None else len(times_s[:-1]) / times_s[-1],
        notices=(*inputs.notices, *animator.notices(request), *_notices(request, len(used))),
    )
    # The stored record has no times, so that the same request gives the same file, and tells nobody where it was made.
    metadata = {METADATA_KEY: without_places(record).model_dump_json(exclude={"seconds", "drift"})}
    with VideoWriter(
        request.out,
        (width, height),
        FPS,
        inputs.soundtrack,
        sample_rate_hz=SOUNDTRACK_RATE_HZ,
        metadata=metadata,
        times_s=times_s,
    ) as writer:
        for index, frame in enumerate(chain([first], frames)):
            writer.write(drift.see(frame))
            meter.report("decoding", index + 1, inputs.output_frames)
        meter.report("writing", 0, 1)
    return record.model_copy(update={"drift": drift.windows()})


def _sample(
    animator: Animator,
    inputs: Inputs,
    request: GenerationRequest,
    meter: ProgressMeter,
    *,
    live: AskLive | None,
    resume_folder: Path | None,
) -> tuple[Tensor, tuple[LiveSettings, ...]]:
    """The clip's latents and the settings that each step used, with a preview now and then."""
    steps = request.settings.sampling.steps
    next_preview_s = 0.0
    is_long = inputs.num_frames > RESUMED_FROM_S * FPS and request.settings.long_video.mode != "off"
    keeper = ClipKeeper(resume_folder, _clip_id(animator, inputs, request)) if resume_folder and is_long else None
    used = keeper.used if keeper else []

    def ask(step: int) -> LiveSettings:
        if request.settings_by_step:
            now = request.settings_by_step[step]
        else:
            now = live(step) if live else request.settings.live
        if keeper:
            keeper.used[step:] = [now]
        else:
            used[step:] = [now]
        return now

    def watch(done: float, clean: Tensor | None) -> None:
        nonlocal next_preview_s
        picture = None
        if clean is not None and time.perf_counter() >= next_preview_s:
            started_s = time.perf_counter()
            picture = animator.preview(clean, inputs, request)
            painted_s = time.perf_counter()
            next_preview_s = painted_s + max(PREVIEW_EVERY_S, (painted_s - started_s) / PREVIEW_SHARE)
        meter.report("sampling", done, steps, picture)

    conditions = animator.encode(inputs, request)
    _give_back()
    if request.only_draws:
        return kept_latents(request, conditions), request.settings_by_step
    latents = denoise(
        animator.transformer,
        conditions,
        request.settings,
        window_latent_frames=animator.window_latent_frames,
        seed=request.seed,
        watch=watch,
        workers=animator.workers,
        live=ask,
        keeper=keeper,
        stretch=_stretch(inputs, request, conditions) if request.redo_latents else None,
    )
    if keeper:
        keeper.clear()
    return latents, tuple(keeper.used if keeper else used)


def _give_back() -> None:
    """Hand freed memory back to the system, which the C library would keep: an encoder needs much for a moment."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def kept_latents(request: GenerationRequest, conditions: Conditions) -> Tensor:
    """The latents that `request` brings. Raises UserError where they are not this clip's."""
    assert request.redo_latents is not None
    known = conditions.known
    wanted = [1, known.shape[1] - FRAMES_PER_LATENT, *known.shape[2:]]
    try:
        latents = load_file(request.redo_latents)[LATENTS_KEY]
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(
            f"{request.redo_latents.name} holds no latents that can be read; give the file that --keep-latents wrote.",
            "redo_latents",
        ) from error
    if list(latents.shape) != wanted:
        raise UserError(
            f"{request.redo_latents.name} holds another clip's latents ({list(latents.shape)}, this one has {wanted}); "
            "give the same picture, voice, model and size again.",
            "redo_latents",
        )
    return latents


def _stretch(inputs: Inputs, request: GenerationRequest, conditions: Conditions) -> Stretch:
    """What `request` asks to be made anew, in latent frames. Raises UserError where it does not fit the clip."""
    assert request.redo_span_s is not None
    latents = kept_latents(request, conditions)
    start_s, stop_s = request.redo_span_s
    length_s = inputs.num_frames / FPS
    if start_s >= length_s:
        raise UserError(f"The stretch begins at {start_s:g} s, the clip lasts {length_s:.2f} s.", "redo_span_s")
    # A film's frames stand one later where the reference is in front of them.
    first, last = math.floor(start_s * FPS), math.ceil(stop_s * FPS) - 1 + (1 if inputs.film else 0)
    start, stop = (1 + (frame - 1) // FRAMES_PER_LATENT for frame in (first, last))
    return Stretch(latents, max(conditions.first_content, start), min(stop + 1, latents.shape[2]))


def _notices(request: GenerationRequest, steps_done: int) -> list[str]:
    """What is on purpose and looks like a fault."""
    steps, notices = request.settings.sampling.steps, []
    if steps_done < steps and not request.only_draws:
        notices.append(f"Stopped by hand in step {steps_done} of {steps}: this is what the clip was by then.")
    if request.settings.png.mode == "reference":
        notices.append(
            "Negative guidance is the public code's, to compare with: its embeddings grow to 1.5, 2.25 and 3.375 times "
            "in the first three steps and stay there."
        )
    return notices


def _clip_id(animator: Animator, inputs: Inputs, request: GenerationRequest) -> str:
    """What a kept state belongs to: the request but for its file names, the files' contents and the model."""
    asked = request.model_dump_json(exclude={*FILE_FIELDS, "settings_by_step"})
    named = json.dumps([asked, sorted(inputs.sha256.items()), animator.checkpoint_sha256])
    return hashlib.sha256(named.encode()).hexdigest()


def _window_frames(animator: Animator, inputs: Inputs, request: GenerationRequest) -> list[tuple[int, int]]:
    """The windows of Long Video CFG as first and last (exclusive) video frames; a film drifts by itself, so none."""
    if inputs.film is not None:
        return []
    video = request.settings.long_video
    latent_frames = to_latent_frames(next_valid_length(inputs.num_frames))
    length = video.window_latent_frames or animator.window_latent_frames
    if latent_frames == 1:
        return [(0, 1)]
    windows = plan_windows(1, latent_frames, length, min(video.overlap_latent_frames, length - 1))
    bounds = [(FRAMES_PER_LATENT * (w.start - 1) + 1, FRAMES_PER_LATENT * (w.stop - 1) + 1) for w in windows]
    return [(start, min(stop, inputs.num_frames)) for start, stop in bounds]


def _colour_match(inputs: Inputs, request: GenerationRequest) -> ColourMatch | None:
    return ColourMatch() if request.settings.long_video.colour_match and inputs.film is None else None
