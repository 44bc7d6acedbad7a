"""Clips as the review store keeps them, without their videos, and the keys that are pressed about them."""

import hashlib
import itertools
from typing import Any

from engine.contract.records import GenerationRecord
from engine.contract.request import build_request
from studio.review.labels import KeyPress, read_key_press
from studio.review.store import Clip

FRAMES, FPS = 50, 25.0
_numbers = itertools.count()


def small_clip(number: int, checkpoint: str = "0" * 64, **values: Any) -> Clip:
    """The clip of seed `number`, its record real."""
    request = build_request({"image": "face.png", "audio": "voice.wav", "seed": number, "out": "out.mp4"} | values)
    record = GenerationRecord(
        request=request,
        checkpoint_sha256=checkpoint,
        inputs_sha256={"image": "1" * 64, "audio": "2" * 64},
        width_px=64,
        height_px=96,
        num_frames=FRAMES,
        fps=FPS,
    )
    name = f"{number}-{checkpoint}"
    return Clip(
        id=hashlib.sha256(name.encode()).hexdigest(),
        variant="nano",
        num_frames=FRAMES,
        fps=FPS,
        width_px=64,
        height_px=96,
        record=record.model_dump(mode="json"),
        files={
            "latents": {"name": "latents.safetensors", "sha256": "3" * 64},
            "inputs": {
                "image": {"name": "image.png", "sha256": "1" * 64},
                "audio": {"name": "audio.wav", "sha256": "2" * 64},
            },
        },
    )


def key(item: int, kind: str, **values: Any) -> KeyPress:
    """A key press with an id of its own."""
    values = {"client_id": f"client-{next(_numbers):08d}", "item": item, "kind": kind, "played": True} | values
    return read_key_press(values)
