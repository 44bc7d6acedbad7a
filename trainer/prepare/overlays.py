"""Subtitles, captions and station names that lie over a picture: found by reading (RapidOCR), cropped away or rejected.

What is printed on clothes and signs stays: it leans, or is small. Overlaid text is level, wide and read with certainty.
"""

from functools import cache
from typing import Any

import cv2
import numpy as np

from engine.contract.variants import FPS
from engine.media.face import Box, detect_faces
from trainer.prepare.clip import clip_frames
from trainer.prepare.rows import Rejected, Row, Stage, Workshop

EVERY_S = 1.0
"""How far apart the frames are that are read: a subtitle stays longer."""
READ_SIDE_PX = 640
"""Frames are read at this size: text that matters is large enough."""
MIN_CERTAINTY = 0.8
MIN_WIDTH = 0.08
"""Over the picture's width."""
MAX_SLOPE = 0.035
"""Two degrees."""
MIN_LETTERS = 3
FACE_MARGIN = 0.25
"""What a crop leaves round the face, over the face's size."""
MARGIN = 0.01
"""What a crop keeps from text, over the picture's height."""
MIN_KEPT = 0.5
"""The least share of the picture that a crop keeps."""


def overlaid_text(frame: np.ndarray) -> list[tuple[str, Box]]:
    """Text that lies over a frame, uint8 RGB [H, W, 3], and its boxes, fractions xyxy."""
    scale = min(1.0, READ_SIDE_PX / max(frame.shape[:2]))
    frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    read = _reader()(np.ascontiguousarray(frame[:, :, ::-1]))
    if read.boxes is None:
        return []
    height, width = frame.shape[:2]
    found = []
    for text, certainty, corners in zip(read.txts, read.scores, read.boxes, strict=True):
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        along = corners[1] - corners[0]
        level = abs(float(along[1])) <= MAX_SLOPE * abs(float(along[0]))
        letters = sum(letter.isalnum() for letter in text)
        if certainty >= MIN_CERTAINTY and level and letters >= MIN_LETTERS and right - left >= MIN_WIDTH * width:
            edges = left / width, top / height, right / width, bottom / height
            x0, y0, x1, y1 = (min(1.0, max(0.0, float(edge))) for edge in edges)
            found.append((text, (x0, y0, x1, y1)))
    return found


def crop_without(boxes: list[Box], face: Box) -> Box | None:
    """The largest upright part of the picture that holds `face` with a margin and none of `boxes`; None below half.

    Each box is left out on one of the face's four sides; with a few boxes all ways are tried.
    """
    wide, high = face[2] - face[0], face[3] - face[1]
    keep = (
        max(0.0, face[0] - FACE_MARGIN * wide),
        max(0.0, face[1] - FACE_MARGIN * high),
        min(1.0, face[2] + FACE_MARGIN * wide),
        min(1.0, face[3] + FACE_MARGIN * high),
    )
    crops: set[Box] = {(0.0, 0.0, 1.0, 1.0)}
    for x0, y0, x1, y1 in boxes:
        smaller = set()
        for left, top, right, bottom in crops:
            if x1 <= left or x0 >= right or y1 <= top or y0 >= bottom:
                smaller.add((left, top, right, bottom))
                continue
            sides = (
                (x1 + MARGIN, top, right, bottom),
                (left, y1 + MARGIN, right, bottom),
                (left, top, x0 - MARGIN, bottom),
                (left, top, right, y0 - MARGIN),
            )
            smaller |= {
                side
                for side in sides
                if side[0] <= keep[0] and side[1] <= keep[1] and side[2] >= keep[2] and side[3] >= keep[3]
            }
        crops = smaller
    best = max(crops, key=_area, default=None)
    return best if best is not None and _area(best) >= MIN_KEPT else None


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlays(row: Row, workshop: Workshop) -> Row:
    """Reads a frame a second; adds `overlay_text` and, where the text can be cropped away, a smaller `crop`."""
    found: list[tuple[str, Box]] = []
    face: Box | None = None
    for index, frame in enumerate(clip_frames(row, workshop)):
        if index % round(EVERY_S * FPS):
            continue
        texts = overlaid_text(frame)
        if texts and face is None:
            faces = detect_faces(frame)
            face = faces[0].box if faces else None
        found += texts
    text = " / ".join(dict.fromkeys(words for words, _ in found))[:200]
    if not found or workshop.settings.overlays == "keep":
        return {"overlay_text": text}
    crop = crop_without([box for _, box in found], face) if face and workshop.settings.overlays == "crop" else None
    if crop is None:
        why = "" if workshop.settings.overlays == "drop" else " (no crop keeps the face and half of the picture)"
        raise Rejected("text", f"Over the picture stands {text!r}{why}.")
    x0, y0, x1, y1 = row["crop"] or (0.0, 0.0, 1.0, 1.0)
    wide, high = x1 - x0, y1 - y0
    inner = [x0 + crop[0] * wide, y0 + crop[1] * high, x0 + crop[2] * wide, y0 + crop[3] * high]
    return {
        "overlay_text": text,
        "crop": inner,
        "width_px": round(row["width_px"] * (crop[2] - crop[0])),
        "height_px": round(row["height_px"] * (crop[3] - crop[1])),
    }


@cache
def _reader() -> Any:
    import logging

    from rapidocr import RapidOCR

    engine = RapidOCR(params={"EngineConfig.onnxruntime.intra_op_num_threads": 1})
    logging.getLogger("RapidOCR").setLevel(logging.ERROR)  # it warns of every picture without text
    return engine


OVERLAY_STAGE = Stage("overlays", 1, _overlays, ("overlays",))
