"""Whether a file says that it is synthetic: its manifest, its `AIGC` record, the watermark in its pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from engine.contract.errors import UserError
from engine.media.marking.manifest import AIGC_KEY, Manifest, read_manifest
from engine.media.marking.watermark import THRESHOLD, Finding, find
from engine.media.video import read_metadata, read_video_frames

WHOLE, CHANGED, UNMARKED = 0, 3, 4
"""Exit codes of `verify`: the manifest holds; something of ours is found, but the manifest is broken or gone; nothing
of ours is found. (2: the file cannot be read.)"""


@dataclass(frozen=True)
class Verdict:
    """What `verify` found."""

    manifest: Manifest
    watermark: Finding
    aigc: str

    @property
    def code(self) -> int:
        """The exit code."""
        if self.manifest.state == "whole":
            return WHOLE
        return CHANGED if self.manifest.state == "changed" or self.watermark.found or self.aigc else UNMARKED

    def lines(self) -> list[str]:
        """The verdict in words, one fact a line."""
        manifest, mark = self.manifest, self.watermark
        told = {
            "whole": "whole: not changed since it was signed",
            "changed": f"broken: changed since it was signed ({', '.join(manifest.faults)})",
            "none": "none: never signed, or written anew since",
        }[manifest.state]
        lines = [f"Manifest:   {told}"]
        if manifest.software:
            source = "AI-generated" if manifest.source_type == "trainedAlgorithmicMedia" else manifest.source_type
            lines += [
                f"Made by:    {manifest.software}, {manifest.when or 'time unknown'} ({source})",
                f"Signed by:  {manifest.signer or 'unknown'} (whether that is who it says, only you can know)",
            ]
        found = f"found, at {mark.scale:.2f} of its size" if mark.found else "not found"
        lines += [
            f"Watermark:  {found} (z {mark.z:.1f}, threshold {THRESHOLD:g})",
            f"AIGC:       {self.aigc or 'none'}",
        ]
        return lines


def verify(path: Path) -> Verdict:
    """Look for all three marks in `path`. Raises UserError("video") for what cannot be read as a video."""
    if path.suffix.lower() == ".gif" and path.is_file():  # holds no metadata of this kind
        return Verdict(read_manifest(path), find(_gif_frames(path)), "")
    metadata = read_metadata(path)
    return Verdict(read_manifest(path), find(read_video_frames(path)), metadata.get(AIGC_KEY, ""))


def _gif_frames(path: Path) -> Iterator[np.ndarray]:
    try:
        with Image.open(path, formats=["GIF"]) as gif:
            for frame in ImageSequence.Iterator(gif):
                yield np.asarray(frame.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path.name} cannot be read as a gif, or is damaged ({error}); export it again.") from error
