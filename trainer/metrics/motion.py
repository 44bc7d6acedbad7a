"""How a head and a mouth move, on landmarks and poses: numbers that rules and ablations share."""

import numpy as np
from numpy.typing import NDArray

from engine.contract.variants import FPS
from trainer.data.faces import JAW_OPEN


def head_jerk(pose: NDArray[np.floating]) -> float:
    """Root mean square of the third derivative of yaw, pitch and roll `pose` [F, 3] in radians, in rad/s³."""
    return float(np.sqrt(np.square(np.diff(pose, 3, axis=0)).sum(1).mean()) * FPS**3)


def opening(apart: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    """95th percentile of the lips' distance `apart` [F], in face heights, over that of the true mouth, aperture [F]."""
    return float(np.percentile(apart, 95) / max(np.percentile(true, 95) * JAW_OPEN, 1e-9))
