import numpy as np
import pytest
import torch

from engine.nano.face_motion import CONTROL_POINTS, SLOTS, FaceMotionAutoencoder
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
