"""What nano trains on, from a filmed face: its motion, picture and words, and the voice both as sound and as features.

face_motion   latents [16, T, 8, 8], still [16, 1, 8, 8] (the first frame, which is the clip's reference)
image         image [16, channels]
text          text [words, channels] of the caption
audio         audio [F, channels], the middles of `NanoAudioEncoder`'s windows
voice         voice int16 [640 · F] at 16 kHz, for those who augment it
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.contract.variants import NANO_DESCRIPTION
from engine.nano.face_motion import FaceReference
from engine.nano.model import NanoModel
from engine.wan.audio_projection import WINDOW
from trainer.prepare.clip import clip_voice
from trainer.prepare.clip_stages import load_faces
from trainer.prepare.features import FeatureGroup, Make
from trainer.prepare.rows import Row, Workshop


def _face_motion(model: NanoModel, row: Row, workshop: Workshop) -> dict[str, Tensor]:
    landmarks_px = load_faces(row, workshop)["landmarks_px"]
    reference = _reference(model, landmarks_px)
    still = model.autoencoder.encode_reference(reference)
    return {"latents": model.autoencoder.encode(landmarks_px, reference)[0], "still": still[0]}


def _reference(model: NanoModel, landmarks_px: np.ndarray) -> FaceReference:
    return model.autoencoder.reference(np.zeros((1, 1, 3), np.uint8), landmarks_px[0])


def _image(model: NanoModel, row: Row, workshop: Workshop) -> dict[str, Tensor]:
    return {"image": model.encode_image(_reference(model, load_faces(row, workshop)["landmarks_px"]))[0]}


def _text(model: NanoModel, row: Row, workshop: Workshop) -> dict[str, Tensor]:
    return {"text": model.encode_text([row["caption"]])[0]}


def _audio(model: NanoModel, row: Row, workshop: Workshop) -> dict[str, Tensor]:
    windows = model.encode_audio(clip_voice(row, workshop), row["frames"])
    return {"audio": windows[0, :, WINDOW // 2, 0]}


def _voice(_model: NanoModel, row: Row, workshop: Workshop) -> dict[str, Tensor]:
    wave = clip_voice(row, workshop)
    return {"voice": torch.from_numpy((np.clip(wave, -1, 1) * 32767).astype(np.int16))}


def _load(make, folder: Path, size_px: int) -> Make:
    return partial(make, NanoModel.load(folder))


def _group(name: str, version: int, make, *files: str) -> FeatureGroup:
    return FeatureGroup(name, version, tuple(Path(file) for file in files), partial(_load, make))


NANO_GROUPS = (
    _group("face_motion", 1, _face_motion, "autoencoder.safetensors"),
    _group("image", 1, _image, "image_encoder.safetensors", "autoencoder.safetensors"),
    _group("text", 1, _text, "text_encoder.safetensors", NANO_DESCRIPTION),
    _group("audio", 1, _audio, "audio_encoder.safetensors"),
    _group("voice", 1, _voice),
)
