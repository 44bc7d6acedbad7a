import numpy as np
import pytest
import torch

from engine.nano import life
from engine.nano.face_motion import CONTROL_POINTS, SLOTS, FaceMotionAutoencoder
from engine.nano.life import TRACKS, Life
from trainer.data.faces import EXPRESSIONS, expressions, mean_face, random_face, ridge_map

PICTURE = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture(scope="module")
def autoencoder() -> FaceMotionAutoencoder:
    autoencoder = FaceMotionAutoencoder()
    autoencoder.mean_face.copy_(torch.from_numpy(mean_face()))
    autoencoder.ridge.copy_(torch.from_numpy(ridge_map(np.random.default_rng(0))))
    autoencoder.motion_std.fill_(0.02)
    autoencoder.position_std.fill_(0.05)
    autoencoder.slot_std.fill_(0.1)
    return autoencoder


def face_px(seed: int) -> np.ndarray:
    face = mean_face().copy()
    face[:, :2] = random_face(np.random.default_rng(seed))
    return face * 400 + np.array([300, 500, 0], np.float32)


def talking_px(seed: int, frames: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    strength = random.uniform(0, 0.6, (frames, len(EXPRESSIONS)))
    strength[0] = 0
    # Both eyes close alike: a wink does not survive, see below.
    strength[:, EXPRESSIONS.index("blink_left")] = strength[:, EXPRESSIONS.index("blink_right")]
    still = face_px(seed)
    filmed = np.repeat(still[None], frames, axis=0)
    filmed[:, :, :2] += np.einsum("fe,evc->fvc", strength, expressions()) * 400
    return filmed.astype(np.float32)


def test_a_filmed_face_survives_encoding_and_decoding(autoencoder):
    filmed = talking_px(3, 9)
    reference = autoencoder.reference(PICTURE, filmed[0])
    decoded = autoencoder.decode_motion(autoencoder.encode(filmed, reference), reference).landmarks_px
    assert np.abs(decoded[:, :, :2] - filmed[:, :, :2]).max() < 400 * 0.01


def test_head_pose_survives_encoding_and_decoding(autoencoder):
    still = face_px(1)
    angle = 0.15
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]], np.float32)
    turned = (still - still.mean(0)) @ turn.T * 1.05 + still.mean(0) + np.array([12, -7, 0], np.float32)
    filmed = np.stack([still, turned, turned, turned, turned]).astype(np.float32)
    reference = autoencoder.reference(PICTURE, still)
    decoded = autoencoder.decode_motion(autoencoder.encode(filmed, reference), reference).landmarks_px
    assert np.abs(decoded[4, :, :2] - turned[:, :2]).max() < 400 * 0.01
    assert np.abs(turned[:, :2] - still[:, :2]).max() > 400 * 0.05


def test_a_still_face_encodes_to_its_reference_latent_and_decodes_to_itself(autoencoder):
    still = face_px(2)
    reference = autoencoder.reference(PICTURE, still)
    latents = autoencoder.encode(np.repeat(still[None], 5, axis=0), reference)
    assert latents.shape == (1, 16, 2, 8, 8)
    torch.testing.assert_close(latents[:, :, :1], autoencoder.encode_reference(reference), atol=1e-4, rtol=0)
    decoded = autoencoder.decode_motion(latents, reference).landmarks_px
    np.testing.assert_allclose(decoded, np.repeat(still[None], 5, axis=0), atol=0.05)


@pytest.mark.parametrize("frames", [1, 5, 9, 33])
def test_unpacking_undoes_packing(autoencoder, frames):
    random = torch.Generator().manual_seed(frames)
    reference = torch.randn(2, len(CONTROL_POINTS), 2, generator=random)
    points = torch.randn(2, frames, len(CONTROL_POINTS), 2, generator=random)
    slots = torch.randn(2, frames, len(SLOTS), generator=random)
    latents = autoencoder.pack(points, reference, slots)
    assert latents.shape == (2, 16, (frames - 1) // 4 + 1, 8, 8)
    motion, unpacked_slots = autoencoder.unpack(latents)
    torch.testing.assert_close(motion, points - reference[:, None])
    torch.testing.assert_close(unpacked_slots, slots)


def test_an_open_mouth_is_seen_in_the_reference_latent(autoencoder):
    closed = face_px(4)
    opened = closed.copy()
    opened[:, :2] += expressions()[EXPRESSIONS.index("jaw")] * 400
    difference = autoencoder.encode_reference(autoencoder.reference(PICTURE, opened)) - autoencoder.encode_reference(
        autoencoder.reference(PICTURE, closed)
    )
    assert difference.abs().max() > 0.5


def lids_px(landmarks_px: np.ndarray) -> np.ndarray:
    """The right and the left eye's opening in pixels, [F, 2]."""
    pairs = ((160, 144), (158, 153)), ((387, 373), (385, 380))
    return np.stack([sum(landmarks_px[:, low, 1] - landmarks_px[:, up, 1] for up, low in eye) / 2 for eye in pairs], 1)


@pytest.mark.parametrize("side", ["blink_right", "blink_left"])
def test_nobody_winks(autoencoder, side):
    still = face_px(5)
    filmed = np.repeat(still[None], 5, axis=0)
    filmed[1:, :, :2] += expressions()[EXPRESSIONS.index(side)] * 400
    reference = autoencoder.reference(PICTURE, still)
    decoded = autoencoder.decode_motion(autoencoder.encode(filmed, reference), reference).landmarks_px
    closed = lids_px(decoded)[4] / lids_px(still[None])[0]
    assert closed.max() < 0.35
    assert abs(closed[0] - closed[1]) < 0.15


def living(**columns) -> Life:
    tracks = np.zeros((5, TRACKS))
    for name, value in columns.items():
        tracks[1:, getattr(life, name)] = value
    return Life(tracks)


def test_a_life_closes_both_lids_raises_brows_and_turns_the_head_and_does_nothing_else(autoencoder):
    still = face_px(6)
    reference = autoencoder.reference(PICTURE, still)
    latents = autoencoder.encode(np.repeat(still[None], 5, axis=0), reference)
    per_mm = np.linalg.norm(still[263] - still[33]) / 90

    def lived(**columns) -> np.ndarray:
        return autoencoder.decode_motion(latents, reference, living(**columns)).landmarks_px[4] - still

    closed = lived(CLOSING=1.0)
    assert (lids_px((still + closed)[None]) < 0.05 * lids_px(still[None])).all()
    assert np.abs(closed[[13, 14, 61, 291, 152, 1, 234, 454, 10]]).max() < 0.1
    raised = lived(BROWS=(3.0, 0.0))
    assert raised[105, 1] < -2 * per_mm and abs(raised[334, 1]) < 0.8 * per_mm
    assert np.abs(raised[[13, 14, 152, 1]]).max() < 0.3 * per_mm
    smiled = lived(CORNERS=2.0)
    assert max(smiled[61, 1], smiled[291, 1]) < -1 * per_mm and smiled[291, 0] > 0 > smiled[61, 0]
    turned = lived(POSE=(0.1, 0, 0, 0, 0, 0))
    assert abs(turned[1, 0] - turned[454, 0]) > 3 * per_mm


def test_a_life_brings_its_own_blinks_and_keeps_a_mood(autoencoder):
    still = face_px(7)
    reference = autoencoder.reference(PICTURE, still)
    change = expressions()[EXPRESSIONS.index("blink_right")] + expressions()[EXPRESSIONS.index("blink_left")]
    strength = np.full(49, 0.2)
    strength[24:28] = 1.0
    filmed = still + np.concatenate([strength[:, None, None] * change * 400, np.zeros((49, 468, 1))], axis=2)
    latents = autoencoder.encode(filmed.astype(np.float32), reference)
    own, lived = (
        lids_px(autoencoder.decode_motion(latents, reference, given).landmarks_px)[:, 0]
        for given in (None, Life.none(49))
    )
    assert own[26] < 0.4 * own[10]
    np.testing.assert_allclose(lived[5:45], own[10], rtol=0.03)
