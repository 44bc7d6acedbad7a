"""Make the bundled examples anew: `python -m trainer.example_assets` writes assets/examples.

Three portraits (one drawn by `example_portrait`, two public-domain photographs that come with installed libraries) and
two clips spoken by flite, which is needed only here. Knows nothing about training. Credits are in assets/ASSETS.md.
"""

import subprocess
import tempfile
from pathlib import Path

import matplotlib.cbook
import numpy as np
import skimage.data
import soundfile
from PIL import Image

from trainer.example_portrait import draw_portrait

FOLDER = Path(__file__).parents[1] / "assets" / "examples"
JPEG_QUALITY = 92
PEAK = 0.7
# Voice and text. The voices rms (flite) and ked (festival) are held out for evaluation and are not used here.
SPEECH = {
    "01_welcome": ("slt", "Hello, and welcome. Pick a portrait, give it a voice, and watch it come to life."),
    "02_bakery": ("awb", "Every morning, before the sun comes up, the smell of warm bread fills the whole street."),
}


def main() -> None:
    """Write the five files over the old ones."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    _write_jpeg("01_drawn-portrait", draw_portrait())
    navy = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    (FOLDER / "02_navy-portrait.jpg").write_bytes(Path(navy).read_bytes())
    _write_jpeg("03_astronaut", skimage.data.astronaut())
    for name, (voice, text) in SPEECH.items():
        wave, rate_hz = _speak(voice, text)
        soundfile.write(FOLDER / f"{name}.wav", wave * (PEAK / np.abs(wave).max()), rate_hz, subtype="PCM_16")


def _write_jpeg(name: str, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(FOLDER / f"{name}.jpg", quality=JPEG_QUALITY, subsampling="4:4:4")


def _speak(voice: str, text: str) -> tuple[np.ndarray, int]:
    with tempfile.NamedTemporaryFile(suffix=".wav") as spoken:
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", spoken.name], check=True)
        return soundfile.read(spoken.name)


if __name__ == "__main__":
    main()
