"""Laws of an edited motion, on what the bundled nano decodes: what an amount changes, and what it must leave alone."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from torch import Tensor

from engine.contract.errors import UserError
from engine.contract.motion_edit import AMOUNTS, MotionEdit
from engine.contract.request import GenerationRequest, build_request
from engine.contract.variants import FPS, NANO
from engine.media.inputs import Inputs, read_inputs
from engine.media.video import read_video_frames
from engine.nano.animator import NanoAnimator
from engine.nano.edited_motion import WIDEST, edited_life
from engine.nano.face_motion import FaceMotion, FaceReference, fit_pose
from engine.nano.life import CLOSING, TRACKS, Life
from engine.nano.model import NanoModel
from engine.pipeline import LATENTS_KEY
from engine.session import Session

EXAMPLES = NANO.folder.parent / "examples"
PICTURES = ("02_navy-portrait.jpg", "03_astronaut.jpg")
"""Closed lips, and a toothy smile."""


class Clip:
    """One sampled clip with its kept latents."""

    def __init__(self, picture: str, folder: Path) -> None:
        self.asked = {"image": EXAMPLES / picture, "audio": EXAMPLES / "02_bakery.wav", "seed": 3, "prompt": "smiling"}
        self.video, self.kept = folder / "video.mp4", folder / "kept.safetensors"
        self.request: GenerationRequest = build_request(self.asked | {"out": self.video})
        Session().generate(self.request, keep_latents=self.kept)
        self.animator = NanoAnimator(NanoModel.load(NANO.folder))
        self.inputs: Inputs = read_inputs(self.request)
        self.reference: FaceReference = self.animator.reference(self.inputs)
        self.life: Life = self.animator.life(self.inputs, self.request)
        self.latents: Tensor = load_file(self.kept)[LATENTS_KEY]

    def drawn(self, **edit) -> FaceMotion:
        asked = MotionEdit(**edit)
        return self.animator.model.autoencoder.decode_motion(self.latents, self.reference, self.life, asked)

    def shapes(self, motion: FaceMotion) -> np.ndarray:
        """The landmarks without the head's pose, in face heights."""
        mean_face = self.animator.model.autoencoder.mean_face.numpy()
        poses = [fit_pose(frame, mean_face) for frame in motion.landmarks_px]
        return np.array(
            [(x - at) @ turn / size for x, (turn, size, at) in zip(motion.landmarks_px, poses, strict=True)]
        )

    def turns_deg(self, motion: FaceMotion) -> np.ndarray:
        """How far the head is turned from where it is in the picture, [F]."""
        mean_face = self.animator.model.autoencoder.mean_face.numpy()
        turned = [self.reference.rotation.T @ fit_pose(frame, mean_face)[0] for frame in motion.landmarks_px]
        return np.degrees(np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1)))


@pytest.fixture(scope="module", params=PICTURES)
def clip(request, tmp_path_factory) -> Clip:
    return Clip(request.param, tmp_path_factory.mktemp("clip"))


def gaps(shapes: np.ndarray) -> np.ndarray:
    return shapes[:, 14, 1] - shapes[:, 13, 1]


def widths(shapes: np.ndarray) -> np.ndarray:
    return shapes[:, 291, 0] - shapes[:, 61, 0]


def test_a_hundred_per_cent_are_the_same_frames_without_sampling(clip, tmp_path):
    again = build_request(clip.asked | {"seed": 99, "redo_latents": clip.kept, "out": tmp_path / "again.mp4"})
    record = Session().generate(again)
    assert "sampling" not in record.seconds and record.request.seed == 3 and not record.notices
    pairs = zip(read_video_frames(clip.video), read_video_frames(again.out), strict=True)
    assert all(np.array_equal(before, after) for before, after in pairs)


def test_a_head_of_nothing_is_still_and_one_of_half_moves_half_as_far(clip):
    whole, half, none = (clip.turns_deg(clip.drawn(head=amount)) for amount in (100, 50, 0))
    assert whole.max() > 4 and none.max() < 1.0
    assert half.mean() == pytest.approx(whole.mean() / 2, rel=0.15)
    # What the eyes take back of a turn goes with the turn.
    assert clip.drawn(head=0).gaze.std() < 0.8 * clip.drawn().gaze.std()


@pytest.mark.parametrize("amount", [0, 50, 150])
def test_the_lips_part_as_many_per_cent_and_meet_where_they_met(clip, amount):
    before, after = (gaps(clip.shapes(clip.drawn(mouth=each))) for each in (100, amount))
    opens = before > 0
    assert before.max() > 0.1
    assert after[opens] == pytest.approx(amount / 100 * before[opens], abs=0.002)
    assert (after[~opens] >= before[~opens] - 0.002).all() and (after[~opens] <= 0.002).all()


def test_no_scaling_opens_a_mouth_further_than_its_share_of_the_width(clip):
    wide = clip.latents.clone()
    wide *= 1.7
    decode = clip.animator.model.autoencoder.decode_motion
    before, after = (
        clip.shapes(decode(wide, clip.reference, clip.life, MotionEdit(mouth=each))) for each in (100, 150)
    )
    assert (1.5 * gaps(before) / widths(before)).max() > WIDEST
    most = np.maximum(gaps(before), WIDEST * widths(before))
    assert (gaps(after) <= most + 0.004).all()


def test_a_smile_moves_the_corners_and_leaves_the_opening(clip):
    none, whole, more = (clip.shapes(clip.drawn(smile=amount)) for amount in (0, 100, 150))
    heights = [shapes[:, (61, 291), 1].mean() for shapes in (none, whole, more)]
    assert heights[0] > heights[1] > heights[2]
    assert gaps(none) == pytest.approx(gaps(whole), abs=0.004)


@pytest.mark.parametrize(("name", "points"), [("brows", (105, 334)), ("mouth", (13, 14)), ("smile", (61, 291))])
def test_an_amount_moves_only_its_own_part(clip, name, points):
    parts = {"brows": (105, 334), "mouth": (13, 14), "smile": (61, 291), "nose": (4,)}
    before, after = (clip.shapes(clip.drawn(**{name: amount})) for amount in (100, 0))
    moved = {part: np.abs(after - before)[:, of].mean() for part, of in parts.items()}
    assert moved[name] > 4 * moved["nose"] and moved[name] > 0.002
    assert np.abs(after - before)[:, points].max() > 0.005


def test_eyes_of_nothing_look_where_they_look_in_the_picture(clip):
    assert not clip.drawn(gaze=0).gaze.any()
    assert clip.drawn(gaze=50).gaze == pytest.approx(clip.drawn().gaze / 2, abs=1e-6)


def test_a_blink_that_is_asked_for_shuts_both_lids_at_its_frame(clip):
    at = next(f for f in range(20, 60) if clip.life.tracks[f - 8 : f + 9, CLOSING].max() == 0)
    before, after = (clip.shapes(clip.drawn(blink_at_s=moments)) for moments in ((), (at / FPS,)))
    for upper, lower in ((159, 145), (386, 374)):
        assert before[at, lower, 1] - before[at, upper, 1] > 0.02
        assert after[at, lower, 1] - after[at, upper, 1] < 0.002
    far = np.r_[0 : at - 4, at + 8 : len(before)]
    assert np.array_equal(before[far], after[far])


def blinks(life: Life) -> int:
    return int((np.diff((life.tracks[:, CLOSING] > 0.5).astype(int)) == 1).sum())


@pytest.mark.parametrize(("amount", "count"), [(0, 0), (50, 4), (100, 8), (125, 10), (150, 12)])
def test_blinks_are_as_many_per_cent(amount, count):
    tracks = np.zeros((800, TRACKS))
    for at in range(50, 800, 95):
        tracks[at : at + 4, CLOSING] = 1.0
    assert blinks(edited_life(Life(tracks), MotionEdit(blink=amount, head=99))) == count


def test_the_lids_close_wholly_or_not_at_all(clip):
    tracks = np.zeros((100, TRACKS))
    tracks[40:44, CLOSING] = 1.0
    assert set(edited_life(Life(tracks), MotionEdit(blink=50)).tracks[:, CLOSING]) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"motion": {"head": 151}}, "motion.head", "150"),
        ({"motion": {"mouth": "wide"}}, "motion.mouth", "wide"),
        ({"motion": {"gaze": float("nan")}}, "motion.gaze", "finite"),
        ({"motion": {"blink_at_s": "1,x"}}, "motion.blink_at_s.1", "x"),
        ({"motion": {"ears": 3}}, "motion.ears", "not permitted"),
        ({"motion": {"head": 50}, "model": "preview"}, "motion", "preview"),
        ({"motion": {"head": 50}, "task": "lip-sync"}, "motion", "lip-sync"),
    ],
)
def test_an_edit_that_cannot_be_is_one_clear_line(change, field, said):
    with pytest.raises(UserError) as caught:
        build_request({"image": "a.png", "audio": "a.wav", "out": "a.mp4"} | change)
    assert caught.value.field == field and said in caught.value.message and "\n" not in caught.value.message


def test_a_blink_behind_the_end_is_refused_before_anything_is_drawn(clip, tmp_path):
    late = {"redo_latents": clip.kept, "motion": {"blink_at_s": (99.0,)}, "out": tmp_path / "late.mp4"}
    with pytest.raises(UserError, match="99 s, the clip lasts"):
        Session().generate(build_request(clip.asked | late))


def test_every_amount_has_a_name_for_the_page():
    assert AMOUNTS == ("head", "mouth", "blink", "brows", "gaze", "smile")
    assert all(MotionEdit.model_fields[name].title for name in AMOUNTS)
