"""One picture of a whole clip for a person to look at: the face at even times, each with its time and lip opening.

A means of looking, not a measurement.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from engine.variants import FPS
from trainer.evaluate.fidelity import BoxPx, Picture

COLUMNS, ROWS = 8, 5
TILE_PX = 240
MARGIN = 0.25
"""Shown round the face box, as a share of its larger side, so that a seam would be seen."""
LABEL_PX = 16


class ContactSheet:
    """Keeps 40 face crops of a clip of `num_frames` frames."""

    def __init__(self, num_frames: int, face_box_px: BoxPx) -> None:
        x0, y0, x1, y1 = face_box_px
        half = round(max(x1 - x0, y1 - y0) * (0.5 + MARGIN))
        middle_x, middle_y = (x0 + x1) // 2, (y0 + y1) // 2
        self._crop_px = (middle_x - half, middle_y - half, middle_x + half, middle_y + half)
        count = min(COLUMNS * ROWS, max(num_frames, 1))
        self._wanted = set(np.linspace(0, num_frames - 1, count).round().astype(int).tolist())
        self._tiles: list[tuple[int, Image.Image]] = []

    def add(self, index: int, frame: Picture) -> None:
        """Keep the crop of frame `index` if the sheet shows it."""
        if index in self._wanted:
            crop = Image.fromarray(frame).crop(self._crop_px)
            self._tiles.append((index, crop.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)))

    def write(self, path: Path, aperture: NDArray[np.float64]) -> None:
        """Write the sheet as a PNG; `aperture` [frames] goes beside each frame's time."""
        sheet = Image.new("RGB", (COLUMNS * TILE_PX, ROWS * (TILE_PX + LABEL_PX)))
        draw = ImageDraw.Draw(sheet)
        for place, (index, tile) in enumerate(self._tiles):
            x, y = place % COLUMNS * TILE_PX, place // COLUMNS * (TILE_PX + LABEL_PX)
            sheet.paste(tile, (x, y))
            draw.text((x + 4, y + TILE_PX + 2), f"{index / FPS:.2f} s  lips {aperture[index]:.3f}", fill="white")
        sheet.save(path)
