"""One talking head from checked inputs: conditions, denoising, frames, file, record.

The order of a request below `engine.session`. Knows nothing about queues, pages or how a model is found and loaded.
Frames are drawn and written one by one, never held all at once; H.264's own threads compress one while the next is
drawn. (A thread of ours for writing is no gain: drawing holds Python's lock, which writing needs many times a frame.)
"""

import os
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from engine.inputs import SOUNDTRACK_RATE_HZ, Inputs
from engine.media.video import VideoWriter
from engine.model.face_motion import FaceMotion, FaceReference
from engine.model.face_warp import FaceWarp
from engine.model.nano import NanoModel
from engine.preview import FacePreview
from engine.progress import ProgressMeter, Stage
from engine.records import METADATA_KEY, GenerationRecord
from engine.request import GenerationRequest
from engine.sampling.denoise import Conditions, denoise
from engine.sampling.guidance import coefficients
from engine.sampling.tasks import image_to_video, next_valid_length, reference_slot, to_latent_frames
from engine.settings import Settings
from engine.variants import FPS

PREVIEW_EVERY_S = 0.7
PREVIEW_SHARE = 0.1
"""Previews come no faster than this, and take no larger share of the time; the first step's is always painted."""
WORKERS = min(8, os.cpu_count() or 1)
"""Forwards of the transformer at a time, each on one thread (`engine.session` sees to that)."""
WORDS_IN_NOTICE = 8


def animate(model: NanoModel, inputs: Inputs, request: GenerationRequest, meter: ProgressMeter) -> GenerationRecord:
    """Make the talking head that `request` asks for from `inputs`, write it to `request.out`, return its record.

    The video has 25 frames per second and is as long as the sound, to the nearest frame. The same request gives the
    same frames. Whatever `meter`'s callback raises passes through and leaves no file.
    """
    meter.expect(_expected_s(model, inputs, request.settings))
    meter.report("encoding", 0, 1)
    reference = model.autoencoder.reference(inputs.picture, inputs.face.landmarks_px)
    conditions = encode_conditions(
        model,
        reference,
        inputs.wave,
        inputs.num_frames,
        prompt=request.prompt,
        negative_prompt=request.settings.negative_prompt,
    )
    latents = _sample(model, conditions, reference, request, meter)
    meter.report("decoding", 0, inputs.num_frames)
    motion = model.autoencoder.decode_motion(latents, reference)

    height, width = inputs.picture.shape[:2]
    record = GenerationRecord(
        request=request,
        checkpoint_sha256=model.checkpoint_sha256,
        inputs_sha256=inputs.sha256,
        face_box=inputs.face.box,
        width_px=width,
        height_px=height,
        num_frames=inputs.num_frames,
        fps=FPS,
        notices=(*inputs.notices, *_prompt_notices(model, request)),
    )
    # The stored record has no times, so that the same request gives the same file.
    metadata = {METADATA_KEY: record.model_dump_json(exclude={"seconds"})}
    with VideoWriter(
        request.out,
        (width, height),
        FPS,
        inputs.soundtrack,
        sample_rate_hz=SOUNDTRACK_RATE_HZ,
        metadata=metadata,
    ) as writer:
        for index, frame in enumerate(_frames(reference, motion, inputs.num_frames)):
            writer.write(frame)
            meter.report("decoding", index + 1, inputs.num_frames)
        meter.report("writing", 0, 1)
    return record


@torch.inference_mode()
def encode_conditions(
    model: NanoModel,
    reference: FaceReference,
    wave: np.ndarray,
    num_frames: int,
    *,
    prompt: str = "",
    negative_prompt: str = "",
) -> Conditions:
    """What the transformer is told about the clip: picture, words and voice, as features.

    `wave` float32 [n] at 16 kHz. The clip is generated to the next 4n + 1 frames, with silence behind the voice.
    """
    num_frames = next_valid_length(num_frames)
    still = model.autoencoder.encode_reference(reference)
    text = model.encode_text([prompt])
    return Conditions(
        reference=still,
        known=image_to_video(still, num_frames),
        slot=reference_slot(still),
        text=text,
        negative=model.negative_text(negative_prompt),
        image=model.encode_image(reference),
        audio=model.encode_audio(wave, num_frames),
    )


def _sample(
    model: NanoModel,
    conditions: Conditions,
    reference: FaceReference,
    request: GenerationRequest,
    meter: ProgressMeter,
) -> Tensor:
    """The clip's latents, with a preview now and then."""
    preview = FacePreview(model.autoencoder, reference)
    steps = request.settings.sampling.steps
    next_preview_s = 0.0

    def watch(done: float, clean: Tensor | None) -> None:
        nonlocal next_preview_s
        picture = None
        if clean is not None and time.perf_counter() >= next_preview_s:
            started_s = time.perf_counter()
            picture = preview.paint(clean)
            painted_s = time.perf_counter()
            next_preview_s = painted_s + max(PREVIEW_EVERY_S, (painted_s - started_s) / PREVIEW_SHARE)
        meter.report("sampling", done, steps, picture)

    return denoise(
        model.transformer,
        conditions,
        request.settings,
        window_latent_frames=model.window_latent_frames,
        seed=request.seed,
        watch=watch,
        workers=WORKERS,
    )


def _frames(reference: FaceReference, motion: FaceMotion, num_frames: int) -> Iterator[np.ndarray]:
    warp = FaceWarp(reference.picture, reference.landmarks_px)
    for index in range(num_frames):
        yield warp.render(motion.landmarks_px[index], float(motion.teeth[index]), float(motion.tongue[index]))


def _prompt_notices(model: NanoModel, request: GenerationRequest) -> list[str]:
    notices = []
    for name, text in (("prompt", request.prompt), ("negative prompt", request.settings.negative_prompt)):
        unknown = list(dict.fromkeys(model.unknown_words(text)))
        if unknown:
            shown = ", ".join(unknown[:WORDS_IN_NOTICE]) + (", …" if len(unknown) > WORDS_IN_NOTICE else "")
            notices.append(f"The model does not know these words of the {name}, they do nothing: {shown}.")
    return notices


def _expected_s(model: NanoModel, inputs: Inputs, settings: Settings) -> dict[Stage, float]:
    """Seconds of the stages, as measured with the bundled model, from the clip's length and size."""
    branches = len(coefficients(settings.guidance, 0, settings.sampling.steps))
    latents = to_latent_frames(next_valid_length(inputs.num_frames)) * branches * settings.sampling.steps
    megapixels = inputs.picture.shape[0] * inputs.picture.shape[1] / 1e6
    return {
        "encoding": 0.1 + 0.001 * inputs.num_frames,
        "sampling": 0.0023 * latents / WORKERS,
        "decoding": (0.006 + 0.02 * megapixels) * inputs.num_frames,
    }
