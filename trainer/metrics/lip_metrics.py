"""The lip metrics of a talking face: how far its mouth opening follows its own sound.

Reported under `proxy`, because both judge the mouth by what it should roughly do, not by a lip reader:
`mesh_lip_r` against the log energy of the 300–3500 Hz band (any language), `viseme_r` against the openness of the
phones that pocketsphinx hears (English). Never tune a model to either.
"""

import numpy as np
from numpy.typing import NDArray

from engine.contract.errors import UserError
from trainer.metrics.lag_correlation import LagCorrelation, correlate
from trainer.metrics.speech_tracks import band_log_energy_db, num_frames, voiced_frames
from trainer.metrics.visemes import expected_openness


def lip_metrics(
    aperture: NDArray[np.float64], audio: NDArray[np.float32], english: bool
) -> tuple[LagCorrelation, LagCorrelation | None]:
    """`mesh_lip_r` and, for English, `viseme_r` of an aperture track [F] at 25 fps and its sound (mono, 16 kHz).

    The longer of the two is cut to the other's length. Raises UserError as `correlate` does, and without speech.
    """
    frames = min(len(aperture), num_frames(audio))
    voiced = voiced_frames(audio)[:frames]
    if not voiced.any():
        raise UserError("No speech is heard in it, so there is nothing to compare the lips with.")
    mouth = aperture[:frames]
    mesh_lip_r = correlate(mouth, band_log_energy_db(audio)[:frames], voiced)
    viseme_r = correlate(mouth, expected_openness(audio)[:frames], voiced) if english else None
    return mesh_lip_r, viseme_r
