"""Nano as the pipeline sees it: requests to conditions, motion latents to frames of the user's own pictures.

The face's motion is generated; frames are the picture, or the film's own, warped. Knows nothing about files or queues.
Tasks: talking head and half body move the picture from its own pose; first-last-frame also knows the last frames and
dissolves into the last picture, both warped to one face; lip-sync generates lips and jaw alone and leaves a film's
pixels beyond the lower face as they are.
"""

import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from engine.contract.progress import Stage
from engine.contract.request import Box, GenerationRequest
from engine.contract.variants import FPS
from engine.media.film import filled
from engine.media.inputs import Inputs, Portrait
from engine.media.lip_region import composite, follow, lip_box
from engine.media.person import person_matte
from engine.media.picture import even_size
from engine.nano.face_motion import FaceMotion, FaceReference, lip_cells
from engine.nano.face_warp import FaceWarp
from engine.nano.life import Life, key_of, live, manner
from engine.nano.model import NanoModel
from engine.nano.preview import FacePreview
from engine.nano.voice import hear
from engine.sampling.denoise import Conditions
from engine.sampling.guidance import coefficients
from engine.sampling.takes import takes
from engine.sampling.tasks import (
    first_last_frame,
    grey_but_the_end,
    image_to_video,
    lip_sync,
    next_valid_length,
    reference_slot,
    to_latent_frames,
)

WORKERS = min(8, os.cpu_count() or 1)
"""Forwards of the transformer at a time, each on one thread (`engine.session` sees to that)."""
DISSOLVE_SHARE = 0.15
DISSOLVE_LEAST_FRAMES = 12
"""How much of a clip, before its end, dissolves into the last picture: long enough that no frame of it is a jump."""
SETTLE_FRAMES = 10
"""Over so many frames the motion comes exactly to the last picture's face."""


class NanoAnimator:
    """An `engine.sampling.animator.Animator` round a loaded nano."""

    workers = WORKERS

    def __init__(self, model: NanoModel) -> None:
        self.model = model
        self.transformer = model.transformer
        self.window_latent_frames = model.window_latent_frames
        self.checkpoint_sha256 = model.checkpoint_sha256
        self._previewed: tuple[Inputs, FacePreview, Life] | None = None
        """The clip that is being previewed: its crop, its layers and its life are made once."""

    @torch.inference_mode()
    def encode(self, inputs: Inputs, request: GenerationRequest) -> Conditions:
        """Picture, words and voice as features, and the mask of the request's task."""
        request.motion.check_length(inputs.num_frames / FPS)
        model, reference = self.model, self.reference(inputs)
        # Lip-sync has the reference in front of the film's first frame, out of time.
        num_frames = next_valid_length(inputs.num_frames + (1 if inputs.film else 0))
        wave = inputs.wave
        if inputs.film:
            wave = np.concatenate([np.zeros(model.samples_per_frame, np.float32), wave])
        conditions = encode_conditions(
            model,
            reference,
            wave,
            num_frames,
            prompt=request.prompt,
            negative_prompt=request.settings.negative_prompt,
        )
        match request.task:
            case "first-last-frame":
                known = self._first_last(reference, inputs, num_frames)
            case "lip-sync":
                known = self._lip_sync(reference, inputs, num_frames)
            case _:
                return conditions
        return Conditions(**{**vars(conditions), "known": known})

    def frames(self, latents: Tensor, inputs: Inputs, request: GenerationRequest) -> Iterator[np.ndarray]:
        """The frames, drawn one by one."""
        reference, self._previewed = self.reference(inputs), None
        if request.task == "lip-sync":
            return self._lips_on_film(latents, reference, inputs, request.lip_box)
        motion = self.model.autoencoder.decode_motion(latents, reference, self.life(inputs, request), request.motion)
        return _dissolving(motion, inputs) if request.task == "first-last-frame" else _moving(motion, inputs)

    def life(self, inputs: Inputs, request: GenerationRequest) -> Life:
        """What the face does besides speaking: a function of the portrait, the voice, the prompt and the seed alone."""
        if request.task == "lip-sync":
            return Life.none(inputs.num_frames)
        voice = hear(inputs.wave, inputs.num_frames, self.model.samples_per_frame)
        wanted = manner(request.prompt)
        portrait, said = (inputs.sha256.get(name, "") for name in ("image", "audio"))
        first, *anew = takes(request)
        life = live(voice, wanted, key_of(portrait, said, first.seed))
        for take in anew:
            stop = min(round(take.stop_s * FPS), inputs.num_frames)
            life = life.retaken(live(voice, wanted, key_of(portrait, said, take.seed)), round(take.start_s * FPS), stop)
        return life.settling(inputs.num_frames) if request.task == "first-last-frame" else life

    def preview(self, clean: Tensor, inputs: Inputs, request: GenerationRequest) -> bytes:
        """About a second of the face as it would look now."""
        preview, life = self._preview_of(inputs, request)
        return preview.paint(clean, life)

    def preview_motion(self, latents: Tensor, inputs: Inputs, request: GenerationRequest, at_s: float) -> bytes:
        """About a second of the face from the kept `latents` round `at_s`, its motion edited as `request` says."""
        preview, life = self._preview_of(inputs, request)
        return preview.paint_at(latents, life, request.motion, round(at_s * FPS), inputs.num_frames)

    def _preview_of(self, inputs: Inputs, request: GenerationRequest) -> tuple[FacePreview, Life]:
        if self._previewed is None or self._previewed[0] is not inputs:
            preview = FacePreview(self.model.autoencoder, self.reference(inputs))
            self._previewed = (inputs, preview, self.life(inputs, request))
        return self._previewed[1:]

    def notices(self, request: GenerationRequest) -> list[str]:
        """Words that nano does not know, and what it cannot move."""
        texts = {"prompt": request.prompt, "negative prompt": request.settings.negative_prompt}
        return self.model.text_encoder.vocabulary.notices(request.task, texts)

    def expected_s(self, inputs: Inputs, request: GenerationRequest) -> dict[Stage, float]:
        """Seconds of the stages, as measured with the bundled model, from the clip's length and size."""
        settings = request.settings
        branches = len(coefficients(settings.guidance, 0, settings.sampling.steps))
        latents = to_latent_frames(next_valid_length(inputs.num_frames)) * branches * settings.sampling.steps
        height, width = _portrait(inputs).picture.shape[:2]
        each_s = 0.006 + 0.02 * height * width / 1e6 if inputs.film is None else 0.15
        return {
            "encoding": 0.1 + 0.001 * inputs.num_frames,
            "sampling": 0.0023 * latents / WORKERS,
            "decoding": each_s * inputs.output_frames,
        }

    def reference(self, inputs: Inputs) -> FaceReference:
        """The face that moves, its pose taken out."""
        portrait = _portrait(inputs)
        return self.model.autoencoder.reference(portrait.picture, portrait.face.landmarks_px)

    def _first_last(self, reference: FaceReference, inputs: Inputs, num_frames: int) -> Tensor:
        """Mask and masked latents: the last picture's face in every frame from the last one on."""
        assert inputs.last is not None
        known_at_end = num_frames - inputs.num_frames + 1
        end_px = inputs.last.face.landmarks_px
        held = self.model.autoencoder.encode(np.stack([reference.landmarks_px, *[end_px] * 4]), reference)[:, :, 1:]
        first = self.model.autoencoder.encode_reference(reference)
        return first_last_frame(first, grey_but_the_end(held, known_at_end), num_frames, known_at_end)

    def _lip_sync(self, reference: FaceReference, inputs: Inputs, num_frames: int) -> Tensor:
        """Mask and masked latents: all of the film's face but lips and jaw, behind the reference out of time."""
        film_px = _film_landmarks(inputs)
        shown = np.concatenate([film_px, np.repeat(film_px[-1:], num_frames - 1 - len(film_px), axis=0)])
        latents = self.model.autoencoder.encode(np.concatenate([reference.landmarks_px[None], shown]), reference)
        generate = lip_cells()
        known = lip_sync(latents * (1 - generate), generate[None, None])
        return torch.cat([reference_slot(latents[:, :, :1]), known[:, :, 1:]], dim=2)

    def _lips_on_film(
        self, latents: Tensor, reference: FaceReference, inputs: Inputs, given: Box | None
    ) -> Iterator[np.ndarray]:
        film, plan = inputs.film, inputs.plan
        assert film is not None and plan is not None
        first_px = film.landmarks_px[film.first_face]
        assert first_px is not None
        first_box = lip_box(first_px, film.shape)
        speech = self.model.autoencoder.decode_lips(latents, reference)
        for index, time_s, frame in zip(plan.indices, plan.times_s, film.frames(plan.indices), strict=True):
            landmarks_px = film.landmarks_px[index]
            if landmarks_px is None:
                yield even_size(frame)
                continue
            # The reference stands before the film's first frame.
            target_px, teeth, tongue = speech.on(landmarks_px, 1 + time_s * FPS)
            box = lip_box(landmarks_px, film.shape)
            if given is not None:
                box = follow(given, first_box, box)
            yield even_size(composite(frame, FaceWarp(frame, landmarks_px).render(target_px, teeth, tongue), box))


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
    """What the transformer is told about a talking head: picture, words and voice, as features.

    `wave` float32 [n] at 16 kHz. The clip is generated to the next 4n + 1 frames, with silence behind the voice.
    """
    num_frames = next_valid_length(num_frames)
    still = model.autoencoder.encode_reference(reference)
    return Conditions(
        reference=still,
        known=image_to_video(still, num_frames),
        slot=reference_slot(still),
        text=model.encode_text([prompt]),
        negative=model.negative_text(negative_prompt),
        image=model.encode_image(reference),
        audio=model.encode_audio(wave, num_frames),
    )


def _portrait(inputs: Inputs) -> Portrait:
    assert inputs.portrait is not None, "nano has a picture for every task that it can do"
    return inputs.portrait


def _film_landmarks(inputs: Inputs) -> np.ndarray:
    """The film's landmarks at 25 frames per second, [num_frames, 468, 3]; gaps are drawn between their neighbours."""
    film, plan = inputs.film, inputs.plan
    assert film is not None and plan is not None
    whole = filled(list(film.landmarks_px))
    return whole[[plan.at(frame / FPS) for frame in range(inputs.num_frames)]]


def _moving(motion: FaceMotion, inputs: Inputs) -> Iterator[np.ndarray]:
    warp = _warp(_portrait(inputs))
    for index in range(inputs.num_frames):
        yield _drawn(warp, motion, motion.landmarks_px, index)


def _warp(portrait: Portrait) -> FaceWarp:
    landmarks_px = portrait.face.landmarks_px
    return FaceWarp(portrait.picture, landmarks_px, person_matte(portrait.picture, landmarks_px))


def _drawn(warp: FaceWarp, motion: FaceMotion, landmarks_px: np.ndarray, index: int) -> np.ndarray:
    teeth, tongue = float(motion.teeth[index]), float(motion.tongue[index])
    return warp.render(landmarks_px[index], teeth, tongue, look_mm=motion.gaze[index], body=motion.body[index])


def _dissolving(motion: FaceMotion, inputs: Inputs) -> Iterator[np.ndarray]:
    """The first picture moving, towards the end more and more the last one, both warped to the same face."""
    first, last, count = _portrait(inputs), inputs.last, inputs.num_frames
    assert last is not None
    landmarks_px = _settled(motion.landmarks_px[:count], last.face.landmarks_px)
    length = max(min(count - 1, DISSOLVE_LEAST_FRAMES), round(DISSOLVE_SHARE * count))
    share = np.clip((np.arange(count) - (count - 1 - length)) / length, 0, 1)
    share = share * share * (3 - 2 * share)
    warps = [_warp(portrait) for portrait in (first, last)]
    for index in range(count):
        drawn = [
            _drawn(warp, motion, landmarks_px, index)
            for warp, weight in zip(warps, (1 - share[index], share[index]), strict=True)
            if weight > 0
        ]
        if index == count - 1:
            yield last.picture
        elif len(drawn) == 1:
            yield drawn[0]
        else:
            yield np.rint(drawn[0] * (1 - share[index]) + drawn[1] * share[index]).astype(np.uint8)


def _settled(landmarks_px: np.ndarray, end_px: np.ndarray) -> np.ndarray:
    """`landmarks_px` [F, 468, 3] drawn over their last frames to `end_px`, where they come to rest."""
    count = len(landmarks_px)
    share = np.clip((np.arange(count) - (count - 1 - SETTLE_FRAMES)) / min(SETTLE_FRAMES, count - 1), 0, 1)
    share = (share * share * (3 - 2 * share))[:, None, None]
    return landmarks_px + share * (end_px - landmarks_px)
