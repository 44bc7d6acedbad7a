"""What the released models train on, from a clip's pixels, words and voice.

    latents    latents [16, T, h, w], the mean of the video autoencoder
    i2v        masked_latents [16, T, h, w] of the first frame and mid-grey behind it
    first_last ending [16, 1, h, w], what first-last-frame has in place of `i2v`'s last masked latent: three grey frames
               and the last frame that is trained on
    lip        masked_latents [16, T, h, w] of the film with its lower face grey; generate uint8 [F, h/2, w/2], the
               paper's M on the token grid
    text       text [tokens, dim] of the caption, without padding
    image      image [257, dim] of the first frame; face_mask [h/2 · w/2], where the voice may act
    audio      preview: audio [2 F, dim] at 50 Hz; flash: audio [F, layers, dim] at 25 Hz, from which `layer_windows`
               makes the windows that the projection reads

Everything in half precision, where it fits. h and w are an eighth of the clip's size, which has the area of the
settings' square and the picture's shape, in multiples of 16.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from engine.contract.variants import SPEECH_ENCODERS
from engine.media.face import Box, face_token_mask
from engine.media.lip_region import generated_cells
from engine.sampling.tasks import FRAMES_PER_LATENT, to_latent_frames, to_video_frames
from engine.wan.animator import GREY_SETTLES, LATENT_PX, TOKEN_PX, levelled
from engine.wan.audio_projection import WINDOW
from engine.wan.devices import device_for
from engine.wan.encoders import AudioEncoder, ImageEncoder, TextEncoder, VideoAutoencoder
from engine.wan.layout import AUTOENCODER_FILE, BASE, IMAGE_FILE, TEXT_FILE, TOKENIZER
from trainer.data.tasks import MAX_LATENT_FRAMES
from trainer.prepare.clip import clip_frames, clip_voice
from trainer.prepare.clip_stages import load_faces
from trainer.prepare.features import FeatureGroup, Make, halved
from trainer.prepare.rows import Row, Workshop

Released = Literal["preview", "flash"]


def clip_size(row: Row, size_px: int) -> tuple[int, int]:
    """Height and width in pixels that a clip is encoded at."""
    scale = size_px / (row["height_px"] * row["width_px"]) ** 0.5
    height, width = (
        max(TOKEN_PX, TOKEN_PX * round(row[edge] * scale / TOKEN_PX)) for edge in ("height_px", "width_px")
    )
    return height, width


def layer_windows(audio: Tensor) -> Tensor:
    """Flash's stored features [F, layers, dim] → [F, 5, layers, dim]: every frame with its neighbours, as
    `engine.wan.encoders.AudioEncoder.layer_windows` makes them from sound."""
    frames = len(audio)
    at = torch.arange(frames)[:, None] + torch.arange(WINDOW) - WINDOW // 2
    return audio[at.clamp(0, frames - 1)]


def _pixels(frames: Iterable[np.ndarray], size: tuple[int, int]) -> Iterator[Tensor]:
    """Frames uint8 RGB as [1, 3, 1, H, W] in [−1, 1] each."""
    height, width = size
    for frame in frames:
        method = cv2.INTER_AREA if frame.shape[0] > height else cv2.INTER_CUBIC
        resized = cv2.resize(frame, (width, height), interpolation=method)
        yield torch.from_numpy(resized).permute(2, 0, 1)[None, :, None].float() / 127.5 - 1


def _folded(pixels: Iterator[Tensor]) -> Iterator[Tensor]:
    """The first frame alone, then every four: what the autoencoder takes."""
    yield next(pixels)
    while four := list(islice(pixels, FRAMES_PER_LATENT)):
        yield torch.cat(four, dim=2)


def _encoded(autoencoder: VideoAutoencoder, chunks: Iterable[Tensor]) -> list[Tensor]:
    return [latent.cpu() for latent in autoencoder.stream_encode(chunks)]


def _latents(size_px: int, autoencoder: VideoAutoencoder, row: Row, workshop: Workshop) -> dict[str, Tensor]:
    pixels = _pixels(clip_frames(row, workshop), clip_size(row, size_px))
    return {"latents": halved(torch.cat(_encoded(autoencoder, _folded(pixels)), dim=2)[0])}


def _i2v(size_px: int, autoencoder: VideoAutoencoder, row: Row, workshop: Workshop) -> dict[str, Tensor]:
    size, count = clip_size(row, size_px), to_latent_frames(row["frames"])
    first = next(_pixels(clip_frames(row, workshop), size))
    grey = torch.zeros(1, 3, FRAMES_PER_LATENT, *size)
    encoded = _encoded(autoencoder, chain([first], repeat(grey, min(count - 1, GREY_SETTLES))))
    # Behind GREY_SETTLES grey latents they no longer change.
    latents = [*encoded, *[encoded[-1]] * (count - len(encoded))]
    return {"masked_latents": halved(torch.cat(latents, dim=2)[0])}


def _first_last(size_px: int, autoencoder: VideoAutoencoder, row: Row, workshop: Workshop) -> dict[str, Tensor]:
    size, count = clip_size(row, size_px), min(to_latent_frames(row["frames"]), MAX_LATENT_FRAMES)
    pixels = _pixels(clip_frames(row, workshop), size)
    first = next(pixels)
    last = next(islice(pixels, to_video_frames(count) - 2, None))
    grey = torch.zeros(1, 3, FRAMES_PER_LATENT, *size)
    ending = torch.cat([grey[:, :, 1:], last], dim=2)
    # The autoencoder is causal, so what lies between is as in `i2v`.
    encoded = _encoded(autoencoder, chain([first], repeat(grey, count - 2), [ending]))
    return {"ending": halved(encoded[-1][0])}


def _lip(size_px: int, autoencoder: VideoAutoencoder, row: Row, workshop: Workshop) -> dict[str, Tensor]:
    height, width = clip_size(row, size_px)
    boxes: list[Box] = [tuple(box) for box in load_faces(row, workshop)["lip_boxes"].tolist()]
    cells = np.stack([generated_cells(box, height // TOKEN_PX, width // TOKEN_PX) for box in boxes])
    covered = np.kron(cells, np.ones((TOKEN_PX, TOKEN_PX), np.float32))
    pixels = _pixels(clip_frames(row, workshop), (height, width))
    masked = (frame * torch.from_numpy(1 - cover) for frame, cover in zip(pixels, covered, strict=True))
    latents = torch.cat(_encoded(autoencoder, _folded(masked)), dim=2)
    return {"masked_latents": halved(latents[0]), "generate": torch.from_numpy(cells.astype(np.uint8))}


def _text(encoder: TextEncoder, row: Row, workshop: Workshop) -> dict[str, Tensor]:
    return {"text": halved(encoder.tokens_of(row["caption"]))}


def _image(size_px: int, encoder: ImageEncoder, row: Row, workshop: Workshop) -> dict[str, Tensor]:
    height, width = clip_size(row, size_px)
    box: Box = tuple(load_faces(row, workshop)["face_box"].tolist())
    mask = face_token_mask(box, height // LATENT_PX, width // LATENT_PX)
    image = encoder.encode(next(clip_frames(row, workshop)))
    return {"image": halved(image[0]), "face_mask": torch.from_numpy(mask)}


def _audio(variant: Released, encoder: AudioEncoder, row: Row, workshop: Workshop) -> dict[str, Tensor]:
    wave, frames = clip_voice(row, workshop), row["frames"]
    if variant == "preview":
        return {"audio": halved(encoder.token_features(wave, frames)[0])}
    return {"audio": halved(encoder.layer_windows(levelled(wave), frames)[0, :, WINDOW // 2])}


def _with_autoencoder(make, folder: Path, size_px: int) -> Make:
    autoencoder = VideoAutoencoder.load(folder / BASE / AUTOENCODER_FILE)
    autoencoder.model.to(device_for())
    return partial(make, size_px, autoencoder)


def _with_text(folder: Path, size_px: int) -> Make:
    dtype = torch.float32 if device_for().type == "cpu" else torch.bfloat16
    encoder = TextEncoder.load(folder / BASE / TEXT_FILE, folder / BASE / TOKENIZER, dtype)
    encoder.model.to(device_for())
    return partial(_text, encoder)


def _with_image(folder: Path, size_px: int) -> Make:
    encoder = ImageEncoder.load(folder / BASE / IMAGE_FILE)
    encoder.model.to(device_for())
    return partial(_image, size_px, encoder)


def _with_audio(variant: Released, folder: Path, size_px: int) -> Make:
    encoder = AudioEncoder.load(folder / SPEECH_ENCODERS[variant])
    encoder.model.to(device_for())
    return partial(_audio, variant, encoder)


def released_groups(variant: Released) -> tuple[FeatureGroup, ...]:
    """The groups of a released model."""
    vae, speech = (Path(BASE, AUTOENCODER_FILE),), Path(SPEECH_ENCODERS[variant])
    return (
        FeatureGroup("latents", 1, vae, partial(_with_autoencoder, _latents)),
        FeatureGroup("i2v", 1, vae, partial(_with_autoencoder, _i2v)),
        FeatureGroup("first_last", 1, vae, partial(_with_autoencoder, _first_last)),
        FeatureGroup("lip", 1, vae, partial(_with_autoencoder, _lip)),
        FeatureGroup("text", 1, (Path(BASE, TEXT_FILE), Path(BASE) / TOKENIZER / "tokenizer.json"), _with_text),
        FeatureGroup("image", 1, (Path(BASE, IMAGE_FILE),), _with_image),
        FeatureGroup(
            "audio",
            1,
            (speech / "config.json", speech / "model.safetensors", speech / "pytorch_model.bin"),
            partial(_with_audio, variant),
        ),
    )
