"""The engine's page: parity, cost, memory, seams, drift, the two ends."""

from engine.contract.errors import UserError
from goals.engine import clips, counts, memory, pictures, step
from goals.goal import Measure, Part, Place, Row

PART = Part(
    "engine",
    "The engine",
    """
How to read it. A denoise step is three guidance branches through two layers of the real widths (1536, FFN 8960, 12
heads), ours against stock diffusers Wan blocks with the audio branch added the obvious way, interleaved in one run on
one thread, the least processor time of three rounds; no ratio is given where the outputs differ by more than 1e-4. It
shrinks as tokens grow, because self-attention is the same in both: at the 66,816 tokens of 768² × 113 expect 1.
Forwards are rows through a middle block, counted by hooks. Memory is the highest of a fresh process for each length,
from files to a finished file; freed blocks of 256 KiB and more go back to the system at once, so that it is what the
job holds. A jump at a seam is measured on the finished clip, with Long Video CFG and without it (the ablation, whose
windows are denoised apart and cross-faded). "By construction" marks rows that cannot come out otherwise.
`proxy/mesh_lip_r` is explained in [nano.md](nano.md). Frames are compared with the given pictures behind H.264. Face
boxes are judged by a map made from the other five.
""",
)


def with_examples(measure: Measure) -> Measure:
    """`measure`, refused in words where there are no portraits."""

    def checked(place: Place) -> list[Row]:
        if not any(place.examples.glob("*.jpg")):
            raise UserError(f"There are no portraits in {place.examples}; give --examples.", "examples")
        return list(measure(place))  # type: ignore[arg-type]

    return checked


for _name, _measure in {
    "parity": counts.parity,
    "step-320": step.row(320, 1.3),
    "step-1470": step.row(1470, 1.08),
    "step-6006": step.row(6006, 1.05),
    "forwards": counts.forwards,
    "encoder": counts.encoder,
    "memory-pixels": memory.pixels,
    "memory-nano": memory.nano,
    "seams": with_examples(clips.seams),
    "drift": pictures.drift,
    "first-last": with_examples(clips.first_last),
    "half-body": with_examples(clips.half_body),
    "face-box": pictures.face_box,
}.items():
    PART.goal(_name)(_measure)
