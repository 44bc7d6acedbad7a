"""One picture of a clip for a person to look at: the face at even times, then frame by frame, with its lip opening.

A means of looking, not a measurement.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from engine.contract.variants import FPS
from trainer.metrics.fidelity import BoxPx, Picture

COLUMNS = 8
SPREAD_TILES = 24
CONSECUTIVE_TILES = 16
"""Frames in a row from the middle of the clip: closures and flicker last a frame or two."""
TILE_PX = 240
MARGIN = 0.25
"""Shown round the face box, as a share of its larger side, so that a seam would be seen."""
LABEL_PX = 16


class ContactSheet:
    """Keeps the face crops that a sheet of a clip of `num_frames` frames shows."""

    def __init__(self, num_frames: int, face_box_px: BoxPx) -> None:
        x0, y0, x1, y1 = face_box_px
        half = round(max(x1 - x0, y1 - y0) * (0.5 + MARGIN))
        middle_x, middle_y = (x0 + x1) // 2, (y0 + y1) // 2
        self._crop_px = (middle_x - half, middle_y - half, middle_x + half, middle_y + half)
        spread = np.linspace(0, num_frames - 1, SPREAD_TILES).round().astype(int).tolist()
        first = max(0, (num_frames - CONSECUTIVE_TILES) // 2)
        self._wanted = [*spread, *range(first, min(first + CONSECUTIVE_TILES, num_frames))]
        self._tiles: dict[int, Image.Image] = {}

    def add(self, index: int, frame: Picture) -> None:
        """Keep the crop of frame `index` if the sheet shows it."""
        if index in self._wanted:
            crop = Image.fromarray(frame).crop(self._crop_px)
            self._tiles[index] = crop.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)

    def write(self, path: Path, aperture: NDArray[np.float64]) -> None:
        """Write the sheet as a PNG; `aperture` [frames] goes beside each frame's time."""
        rows = -(-len(self._wanted) // COLUMNS)
        sheet = Image.new("RGB", (COLUMNS * TILE_PX, rows * (TILE_PX + LABEL_PX)))
        draw = ImageDraw.Draw(sheet)
        for place, index in enumerate(self._wanted):
            if index not in self._tiles:
                continue
            x, y = place % COLUMNS * TILE_PX, place // COLUMNS * (TILE_PX + LABEL_PX)
            sheet.paste(self._tiles[index], (x, y))
            draw.text((x + 4, y + TILE_PX + 2), f"{index / FPS:.2f} s  lips {aperture[index]:.3f}", fill="white")
        sheet.save(path)
