"""What is measured without a model: a drift that was planted, and the face box against published ones."""

import json

import numpy as np

from engine.media.drift import ColourMatch, DriftMeter
from engine.media.face import Box, find_face
from engine.media.picture import read_picture
from goals.goal import Place, Row, at_least

WINDOW_FRAMES = 30
WINDOWS = 5
PLANTED_RGB = np.array([6.0, -4.0, -5.0])
"""How far the toy's colours go from one window to the next, of 255."""


def toy_frame(index: int) -> np.ndarray:
    """A moving pattern whose colours have strayed by its window: uint8 [96, 128, 3]."""
    rows, columns = np.mgrid[0:96, 0:128]
    wave = np.sin((columns + 2 * index) / 9) * np.cos((rows - index) / 7)
    plain = np.stack([120 + 40 * wave, 110 + 30 * wave, 125 - 35 * wave], axis=-1)
    return np.clip(np.rint(plain + index // WINDOW_FRAMES * PLANTED_RGB), 0, 255).astype(np.uint8)


def drift(place: Place) -> list[Row]:
    """A pixel toy with a step in colour at every window's border."""
    bounds = [(window * WINDOW_FRAMES, (window + 1) * WINDOW_FRAMES) for window in range(WINDOWS)]
    reports = []
    for match in (None, ColourMatch()):
        meter = DriftMeter(bounds, match)
        for index in range(bounds[-1][1]):
            meter.see(toy_frame(index))
        reports.append([window.colour for window in meter.windows()])
    found, left = reports
    steps = np.diff(found)
    removed = 1 - left[-1] / found[-1]
    listed = ", ".join(f"{colour:.1f}" for colour in found)
    return [
        Row(
            "drift report on a toy with a drift planted in every window (ΔE76 of windows 1 … 5)",
            "rises in each",
            listed,
            bool((steps > 1).all()) and found[0] < 1,
        ),
        at_least("colour match: share of the planted drift that it removes, last window", removed, 0.8, ".1%"),
    ]


def face_box(place: Place) -> list[Row]:
    """The affine map from landmarks to box, made from all examples but the one that it is judged on."""
    examples = json.loads((place.examples / "examples.json").read_text())
    maps, boxes, sizes, found = [], [], [], 0
    for name, about in examples.items():
        picture = read_picture(place.examples / f"{name}.jpg")
        face, _ = find_face(picture)
        found += 1
        height, width = picture.shape[:2]
        (x0, y0), (x1, y1) = (
            (face.landmarks_px[:, :2] / [width, height]).min(0),
            (face.landmarks_px[:, :2] / [width, height]).max(0),
        )
        box = about["face_box_fraction_xyxy"]
        boxes.append(box)
        sizes.append((x0, y0, x1, y1))
        maps.append([(box[i] - (x0, y0)[i % 2]) / (x1 - x0, y1 - y0)[i % 2] for i in range(4)])
    ious = []
    for judged, (box, (x0, y0, x1, y1)) in enumerate(zip(boxes, sizes, strict=True)):
        edges = np.median([row for index, row in enumerate(maps) if index != judged], axis=0)
        mapped = [(x0, y0)[i % 2] + edges[i] * (x1 - x0, y1 - y0)[i % 2] for i in range(4)]
        ious.append(iou((mapped[0], mapped[1], mapped[2], mapped[3]), tuple(box)))
    more = f" ({found} of {len(examples)} found; {', '.join(f'{value:.2f}' for value in sorted(ious))})"
    row = at_least("face box against the six published ones, leaving one out: mean IoU", float(np.mean(ious)), 0.80)
    return [Row(row.what, f"{row.goal}, every face found", row.measured + more, row.met and found == len(examples))]


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes xyxy."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)
