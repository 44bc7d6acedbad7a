"""flite and festival (Debian): voices cut from recordings of people. Both are programs, started once per batch or line.

Measured: flite slt, rms and awb end with the wave; kal's and kal16's stated times are 6.8 % too long and are rescaled
to the wave; festival's are 0.02-0.03 s longer than its wave.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import soundfile
import soxr

from trainer.data.speech.utterance import ARPABET, SAMPLE_RATE_HZ, Phone, Utterance


def say_with_flite(text: str, voice: str, *, stretch: float = 1.0) -> Utterance:
    """Speak `text`; `stretch` > 1 is slower."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as sound:
        command = ["flite", "-voice", voice, "--seti", "x=0", "--setf", f"duration_stretch={stretch}"]
        command += ["-psdur", "-t", text, "-o", sound.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        wave = _read(sound.name)
    labels = [pair.rsplit(":", 1) for pair in said.split()]
    return _utterance(wave, [(name, float(end)) for name, end in labels], f"flite {voice}")


def say_with_festival(texts: Sequence[str], voice: str) -> list[Utterance]:
    """Speak every text, in one start of the program: loading its lexicon takes longer than talking."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"(voice_{voice})"]
        for index, text in enumerate(texts):
            quoted = text.replace('"', "")
            lines += [
                f'(set! u (SynthText "{quoted}"))',
                f'(utt.save.wave u "{folder}/{index}.wav" "riff")',
                f'(utt.save.segs u "{folder}/{index}.seg")',
            ]
        lines.insert(0, "(define (SynthText text) (utt.synth (eval (list 'Utterance 'Text text))))")
        script = Path(folder, "say.scm")
        script.write_text("\n".join(lines))
        subprocess.run(["festival", "--batch", str(script)], capture_output=True, check=True)
        return [_festival_utterance(Path(folder), index, voice) for index in range(len(texts))]


def _festival_utterance(folder: Path, index: int, voice: str) -> Utterance:
    labels = []
    rows = (folder / f"{index}.seg").read_text().split("#\n", 1)[1].splitlines()
    for row in rows:
        end, _, name = row.split()[:3]
        labels.append((name, float(end)))
    return _utterance(_read(str(folder / f"{index}.wav")), labels, f"festival {voice}")


def _read(path: str):
    wave, rate_hz = soundfile.read(path, dtype="float32")
    return wave if rate_hz == SAMPLE_RATE_HZ else soxr.resample(wave, rate_hz, SAMPLE_RATE_HZ)


def _utterance(wave, labels: list[tuple[str, float]], voice: str) -> Utterance:
    scale = len(wave) / SAMPLE_RATE_HZ / labels[-1][1]
    phones, start = [], 0.0
    for name, end in labels:
        phones.append(Phone(ARPABET[name.rstrip("012")], start, end * scale))
        start = end * scale
    return Utterance(wave, tuple(phones), voice)
