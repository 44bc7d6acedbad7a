import cv2
import numpy as np
import pytest

from trainer.metrics.fidelity import luma, luma_psnr_db, sharpness


def picture() -> np.ndarray:
    grey = np.random.default_rng(0).integers(20, 230, (64, 48, 1), dtype=np.uint8)
    return luma(np.repeat(grey, 3, axis=2))


def test_luma_of_grey_is_its_level_and_green_counts_most():
    levels = np.full((2, 2, 3), 77, np.uint8)
    assert luma(levels) == pytest.approx(77, abs=1e-3)
    red, green, blue = (luma(np.full((1, 1, 3), 200, np.uint8) * np.eye(3, dtype=np.uint8)[c])[0, 0] for c in range(3))
    assert green > red > blue


def test_psnr_of_one_grey_level_is_48_db():
    reference = picture()
    everywhere = np.ones(reference.shape[:2], dtype=bool)
    assert luma_psnr_db(reference + 1, reference, everywhere) == pytest.approx(48.13, abs=0.01)
    assert luma_psnr_db(reference, reference, everywhere) == float("inf")


def test_psnr_sees_only_the_compared_pixels():
    reference = picture()
    changed = reference.copy()
    changed[:32] = 255 - changed[:32]
    compared = np.ones(reference.shape[:2], dtype=bool)
    compared[:32] = False
    assert luma_psnr_db(changed, reference, compared) == float("inf")
    assert luma_psnr_db(changed, reference, ~compared) < 15


def test_blur_lowers_sharpness_and_a_shift_does_not():
    sharp = picture()
    box_px = (8, 8, 40, 56)
    assert sharpness(cv2.GaussianBlur(sharp, (0, 0), 1.0), box_px) < 0.1 * sharpness(sharp, box_px)
    assert sharpness(np.roll(sharp, 2, axis=1), box_px) == pytest.approx(sharpness(sharp, box_px), rel=0.1)
