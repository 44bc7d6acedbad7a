"""The released models as the pipeline sees them: requests to conditions, latents to pixels.

Everything is read from the folder in its released layout. The text encoder, the biggest part by far, is loaded for the
prompts and let go before the transformer runs; pictures and films go through the video autoencoder latent by latent,
and only the latents that are used. Knows nothing about queues. Departures: a window that does not begin the clip has
the true reference in front (paper: Long Video CFG), marked known like a clip's own first frame, because the released
weights never saw another mark; text-to-video has the zero picture for its image tokens.
"""

import io
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import chain, islice, repeat
from pathlib import Path

import cv2
import numpy as np
import pyloudnorm
import torch
from PIL import Image
from torch import Tensor

from engine.contract.errors import UserError
from engine.contract.negatives import negative_words
from engine.contract.progress import Stage
from engine.contract.request import Box, GenerationRequest
from engine.contract.variants import FPS, SPEECH_ENCODERS, TRANSFORMER_WEIGHTS
from engine.media.audio import SAMPLE_RATE_HZ
from engine.media.face import face_token_mask
from engine.media.inputs import Inputs, file_sha256
from engine.media.lip_region import composite, follow, generated_cells, lip_box
from engine.media.picture import even_size
from engine.sampling.denoise import Conditions
from engine.sampling.phase_negative import NegativeText
from engine.sampling.tasks import (
    FRAMES_PER_LATENT,
    first_last_frame,
    image_to_video,
    lip_sync,
    next_valid_length,
    text_to_video,
    to_latent_frames,
)
from engine.wan.checkpoints import ReleasedTransformer, load_transformer
from engine.wan.encoders import LATENT_PX, AudioEncoder, ImageEncoder, TextEncoder, VideoAutoencoder
from engine.wan.latent_preview import latent_picture
from engine.wan.layout import AUTOENCODER_FILE, BASE, IMAGE_FILE, TEXT_FILE, TOKENIZER
from engine.wan.memory import (
    TILE_OVERLAP_PX,
    TILE_PX,
    TILED_MODES,
    Mode,
    free_unused,
    layer_by_layer,
    on_device,
    place,
)

TOKEN_PX = 16
WINDOW_LATENT_FRAMES = 28
"""Content of a window; with the reference in front 29, the paper's 113 frames."""
GREY_SETTLES = 28
"""The autoencoder's memory reaches so far: behind that many grey latents they no longer change."""
LOUDNESS_LUFS = -23.0
"""What the flash model's speech was levelled to (EBU R 128)."""
MAX_AUDIO_GUIDANCE = 5.0
MIN_MEASURED_S = 0.4
"""Loudness is defined over blocks of 400 ms; what is shorter is left as it is."""


class PixelAnimator:
    """An `engine.sampling.animator.Animator` round a released model: preview or flash."""

    workers = 1
    window_latent_frames = WINDOW_LATENT_FRAMES

    def __init__(
        self, folder: Path, kind: ReleasedTransformer, dtype: torch.dtype, device: torch.device, mode: Mode = "full"
    ) -> None:
        """Load all but the text encoder from `folder`. Raises UserError for a file that is missing or does not fit."""
        self._folder, self._kind, self._dtype, self._device, self._mode = folder, kind, dtype, device, mode
        base = folder / BASE
        weights = folder / TRANSFORMER_WEIGHTS
        self._speech = AudioEncoder.load(folder / SPEECH_ENCODERS[kind])
        audio_dim = self._speech.model.config.hidden_size
        self.transformer = load_transformer(
            weights, kind, dtype, heads=attention_heads(base / "config.json"), audio_dim=audio_dim
        )
        self.autoencoder = VideoAutoencoder.load(base / AUTOENCODER_FILE)
        if mode in TILED_MODES:
            self.autoencoder.tile_px, self.autoencoder.overlap_px = TILE_PX, TILE_OVERLAP_PX
        self._image = ImageEncoder.load(base / IMAGE_FILE)
        self.checkpoint_sha256 = file_sha256(weights)
        self._kept_text: TextEncoder | None = None
        place(self.transformer, mode, device, dtype)

    @contextmanager
    def keeping_text_encoder(self) -> Iterator[None]:
        """Load the text encoder once for every `encode` inside, and let it go at the end: for many prompts in turn."""
        self._kept_text = self._text_encoder()
        try:
            yield
        finally:
            self._kept_text = None
            free_unused()

    @torch.inference_mode()
    def encode(self, inputs: Inputs, request: GenerationRequest) -> Conditions:
        """Picture, words, voice and face as features, and the mask of the request's task."""
        num_frames = next_valid_length(inputs.num_frames)
        height, width = frame_size(inputs, request.settings.sampling.size_px)
        text, negative = self._text(request)
        picture = None if inputs.portrait is None else inputs.portrait.picture
        square = np.zeros((8, 8, 3), np.uint8) if picture is None else picture
        with self._used(self._image.model):
            image = self._image.encode(square)
        conditions = Conditions(
            known=torch.empty(0),
            text=text,
            negative=negative,
            image=torch.zeros_like(image) if picture is None else image,
            audio=self._audio(inputs.wave, num_frames),
            face_mask=self._face_mask(inputs, height, width),
        )
        match request.task:
            case "text-to-video":
                known = text_to_video(torch.empty(1, 16, to_latent_frames(num_frames), *self._grid(height, width)))
            case "lip-sync":
                with self._used(self.autoencoder.model):
                    known = self._film(inputs, request, num_frames, (height, width))
            case _:
                with self._used(self.autoencoder.model):
                    known = self._pictures(inputs, num_frames, (height, width))
                reference = known[:, 4:, :1]
                slot = torch.cat([torch.ones_like(known[:, :4, :1]), reference], dim=1)
                conditions = replace(conditions, reference=reference, slot=slot)
        return self._placed(replace(conditions, known=known))

    def frames(self, latents: Tensor, inputs: Inputs, request: GenerationRequest) -> Iterator[np.ndarray]:
        """The frames, decoded one latent at a time; for lip-sync put into the film's own frames."""
        generated = self._decoded(latents)
        if inputs.plan is None:
            return islice(generated, inputs.num_frames)
        return self._on_film(generated, inputs, request)

    def _decoded(self, latents: Tensor) -> Iterator[np.ndarray]:
        with self._used(self.autoencoder.model):
            for chunk in self.autoencoder.stream_decode(latents):
                yield from _pictures(chunk)

    def _used(self, module: torch.nn.Module) -> AbstractContextManager[None]:
        """`module` on the device for as long as it is used."""
        return on_device(module, self._mode, self._device)

    def preview(self, clean: Tensor, inputs: Inputs, request: GenerationRequest) -> bytes:
        """The middle latent frame in rough colours."""
        file = io.BytesIO()
        Image.fromarray(latent_picture(clean[0, :, clean.shape[2] // 2].float().cpu())).save(file, "WEBP", quality=80)
        return file.getvalue()

    def notices(self, request: GenerationRequest) -> list[str]:
        """Audio guidance beyond what these weights bear."""
        if request.settings.guidance.audio > MAX_AUDIO_GUIDANCE:
            return [
                f"Audio guidance {request.settings.guidance.audio:g} is high for the released weights: above "
                f"{MAX_AUDIO_GUIDANCE:g} colours burn and mouths distort."
            ]
        return []

    def expected_s(self, inputs: Inputs, request: GenerationRequest) -> dict[Stage, float]:
        """Proportions of the stages, after where the compute of a 1.3B model goes."""
        steps = request.settings.sampling.steps
        return {
            "encoding": 5.0 + 0.02 * inputs.num_frames,
            "sampling": 0.3 * steps * inputs.num_frames,
            "decoding": 0.1 * inputs.num_frames,
        }

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        return height // LATENT_PX, width // LATENT_PX

    def _text(self, request: GenerationRequest) -> tuple[Tensor, NegativeText]:
        """The prompt and the negative texts; the encoder is gone afterwards, unless `keeping_text_encoder`. Flash has
        no text guidance to feed."""
        encoder = self._kept_text or self._text_encoder()
        groups = negative_words("released")
        if self._mode in {"full", "balanced"}:
            with self._used(encoder.model):
                return self._encoded(encoder, request, groups)
        return self._encoded(encoder, request, groups)

    def _text_encoder(self) -> TextEncoder:
        # umT5 overflows in float16; bfloat16 is what it is published in.
        dtype = torch.bfloat16 if self._dtype == torch.float16 else self._dtype
        encoder = TextEncoder.load(self._folder / BASE / TEXT_FILE, self._folder / BASE / TOKENIZER, dtype)
        if self._mode not in {"full", "balanced"}:
            layer_by_layer(encoder.model, self._device)
            encoder.runs_on = self._device
        return encoder

    def _encoded(
        self, encoder: TextEncoder, request: GenerationRequest, groups: dict[str, str]
    ) -> tuple[Tensor, NegativeText]:
        text = encoder.encode([request.prompt])
        own, motion, detail = (
            encoder.tokens_of(words) for words in (request.settings.negative_prompt, groups["motion"], groups["detail"])
        )
        return text, NegativeText(own, motion, detail, text.shape[1])

    def _audio(self, wave: np.ndarray, num_frames: int) -> Tensor:
        with self._used(self._speech.model):
            if self._kind == "preview":
                return self._speech.token_features(wave, num_frames)
            return self._speech.layer_windows(levelled(wave), num_frames)

    def _face_mask(self, inputs: Inputs, height: int, width: int) -> Tensor | None:
        """Where the voice may act, for a model that was trained with a face mask; the union over a film's frames."""
        if inputs.portrait is None or self._kind == "flash":
            return None
        rows, columns = self._grid(height, width)
        return torch.from_numpy(face_token_mask(inputs.portrait.face.box, rows, columns))[None]

    def _pictures(self, inputs: Inputs, num_frames: int, size: tuple[int, int]) -> Tensor:
        """Mask and masked latents of a picture, or of a first and a last one, with grey between."""
        assert inputs.portrait is not None
        first, latent_frames = _pixels(inputs.portrait.picture, size), to_latent_frames(num_frames)
        grey = torch.zeros(1, 3, FRAMES_PER_LATENT, *size)
        if inputs.last is None:
            encoded = list(
                self.autoencoder.stream_encode(chain([first], repeat(grey, min(latent_frames - 1, GREY_SETTLES))))
            )
            latents = torch.cat([*encoded, *[encoded[-1]] * (latent_frames - len(encoded))], dim=2)
            known = image_to_video(latents[:, :, :1], num_frames)
            return torch.cat([known[:, :4], latents], dim=1)
        known_at_end = num_frames - inputs.num_frames + 1
        ending = grey.clone()
        ending[:, :, FRAMES_PER_LATENT - known_at_end :] = _pixels(inputs.last.picture, size)
        # The grey between is encoded until it no longer changes, so that the memory before the end is the true one.
        between = min(latent_frames - 2, GREY_SETTLES)
        encoded = list(self.autoencoder.stream_encode(chain([first], repeat(grey, between), [ending])))
        middle = [*encoded[1:-1], *[encoded[-2]] * (latent_frames - len(encoded))]
        latents = torch.cat([encoded[0], *middle, encoded[-1]], dim=2)
        known = first_last_frame(encoded[0], encoded[-1], num_frames, known_at_end)
        return torch.cat([known[:, :4], latents], dim=1)

    def _film(self, inputs: Inputs, request: GenerationRequest, num_frames: int, size: tuple[int, int]) -> Tensor:
        """Mask and masked latents of a film whose lower face is grey; each of its latents is encoded once."""
        boxes = _boxes(inputs, request.lip_box)
        film, plan = inputs.film, inputs.plan
        assert film is not None and plan is not None
        shown = [min(frame, inputs.num_frames - 1) for frame in range(num_frames)]
        indices = [plan.at(frame / FPS) for frame in shown]
        rows, columns = size[0] // TOKEN_PX, size[1] // TOKEN_PX
        cells = np.stack([generated_cells(boxes[index], rows, columns) for index in indices])
        generate = np.kron(cells, np.ones((TOKEN_PX, TOKEN_PX), np.float32))

        def masked() -> Iterator[Tensor]:
            for frame, covered in zip(film.frames(indices), generate, strict=True):
                yield _pixels(frame, size) * torch.from_numpy(1 - covered)

        def chunks() -> Iterator[Tensor]:
            frames = masked()
            yield next(frames)
            while four := list(islice(frames, FRAMES_PER_LATENT)):
                yield torch.cat(four, dim=2)

        latents = torch.cat(list(self.autoencoder.stream_encode(chunks())), dim=2)
        step = TOKEN_PX // LATENT_PX
        grid = np.kron(cells, np.ones((step, step), np.float32))
        return lip_sync(latents, torch.from_numpy(grid)[None])

    def _on_film(
        self, generated: Iterator[np.ndarray], inputs: Inputs, request: GenerationRequest
    ) -> Iterator[np.ndarray]:
        """The film's frames at their own times, their lower face from the generated frame of that time."""
        film, plan = inputs.film, inputs.plan
        assert film is not None and plan is not None
        boxes = _boxes(inputs, request.lip_box)
        current, drawn = next(generated), 0
        for index, time_s, frame in zip(plan.indices, plan.times_s, film.frames(plan.indices), strict=True):
            while drawn < round(time_s * FPS) and drawn < inputs.num_frames - 1:
                current, drawn = next(generated), drawn + 1
            if film.landmarks_px[index] is None:
                yield even_size(frame)
                continue
            large = cv2.resize(current, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_CUBIC)
            yield even_size(composite(frame, large, boxes[index]))

    def _placed(self, conditions: Conditions) -> Conditions:
        """Every tensor where and as the transformer wants it."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(self._device, self._dtype)

        def move_if(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else move(tensor)

        negative = conditions.negative
        return Conditions(
            known=move(conditions.known),
            text=move(conditions.text),
            negative=NegativeText(move(negative.own), move(negative.motion), move(negative.detail), negative.length),
            image=move_if(conditions.image),
            audio=move(conditions.audio),
            # What a clip ends with is never rounded; the network's own input is, window by window.
            reference=None if conditions.reference is None else conditions.reference.to(self._device),
            slot=move_if(conditions.slot),
            face_mask=move_if(conditions.face_mask),
        )


def frame_size(inputs: Inputs, side: int) -> tuple[int, int]:
    """Height and width in pixels of generated frames: multiples of 16 of the area of a square of `side`, in the
    source's shape, or square."""
    if inputs.film is not None:
        shape: tuple[int, int] = inputs.film.shape
    elif inputs.portrait is not None:
        shape = inputs.portrait.picture.shape[0], inputs.portrait.picture.shape[1]
    else:
        shape = side, side
    scale = side / (shape[0] * shape[1]) ** 0.5
    height, width = (max(TOKEN_PX, TOKEN_PX * round(edge * scale / TOKEN_PX)) for edge in shape)
    return height, width


def levelled(wave: np.ndarray) -> np.ndarray:
    """`wave` float32 [n] at 16 kHz at −23 LUFS (ITU-R BS.1770); silence and what is too short stay as they are."""
    if len(wave) < MIN_MEASURED_S * SAMPLE_RATE_HZ:
        return wave
    loudness = pyloudnorm.Meter(SAMPLE_RATE_HZ).integrated_loudness(wave)
    if not np.isfinite(loudness):
        return wave
    return (wave * 10 ** ((LOUDNESS_LUFS - loudness) / 20)).astype(np.float32)


def attention_heads(config: Path) -> int | None:
    """The number of attention heads that a config file beside the base model tells, if there is one."""
    try:
        return int(json.loads(config.read_text())["num_heads"]) if config.is_file() else None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{config} cannot be read ({error}); download the model folder again.", "model") from error


def _pixels(picture: np.ndarray, size: tuple[int, int]) -> Tensor:
    """A picture uint8 RGB of any size as one frame of video, float32 [1, 3, 1, H, W] in [−1, 1]."""
    height, width = size
    shrinks = picture.shape[0] > height
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return torch.from_numpy(resized).permute(2, 0, 1)[None, :, None].float() / 127.5 - 1


def _pictures(frames: Tensor) -> Iterator[np.ndarray]:
    """Frames [1, 3, n, H, W] in [−1, 1] as uint8 RGB [H, W, 3] each."""
    for frame in frames[0].permute(1, 2, 3, 0):
        yield ((frame.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def _boxes(inputs: Inputs, given: Box | None) -> list[Box]:
    """The lower face's box in every frame of the film; a frame without a face has that of the face before it."""
    film = inputs.film
    assert film is not None
    first_px = film.landmarks_px[film.first_face]
    assert first_px is not None
    first = current = lip_box(first_px, film.shape)
    boxes = []
    for landmarks_px in film.landmarks_px:
        current = current if landmarks_px is None else lip_box(landmarks_px, film.shape)
        boxes.append(current if given is None else follow(given, first, current))
    return boxes
