"""The real comparison: the face alone, small, both sides in step; what is pinned is drawn once."""

import pytest

from engine.compare import SECONDS, SIDE_PX, Comparer
from engine.contract.errors import UserError
from engine.contract.request import build_request
from engine.media.video import probe, read_video_frames
from engine.session import Session


@pytest.fixture(scope="module")
def comparer() -> Comparer:
    return Comparer(Session())


@pytest.fixture
def asked(portrait, voice, tmp_path):
    def build(**settings):
        values = {"image": portrait, "audio": voice, "model": "nano", "seed": 3, "out": tmp_path / "o.mp4"}
        return build_request(values, {name.replace("__", "."): value for name, value in settings.items()})

    return build


def test_the_same_settings_show_the_same_face_twice(comparer, asked, tmp_path):
    same = comparer(asked(), asked(), 0.0)
    assert same.before == same.after and same.is_below_chance
    path = tmp_path / "both.mp4"
    path.write_bytes(same.mp4)
    film = probe(path)
    assert film.audio_sample_rate_hz in (None, 0) and film.num_frames <= round(SECONDS * 25) + 1
    frame = next(iter(read_video_frames(path)))
    height, width = frame.shape[:2]
    assert width <= 2 * SIDE_PX and height <= SIDE_PX
    left, right = frame[:, : width // 2].astype(int), frame[:, width // 2 :].astype(int)
    assert abs(left - right).mean() < 3, "both sides show one face"


def test_a_weaker_voice_moves_the_mouth_and_what_is_pinned_is_drawn_once(comparer, asked, monkeypatch):
    comparer(asked(), asked(), 0.0)
    drawn = []
    draw = comparer._draw
    monkeypatch.setattr(comparer, "_draw", lambda request, at_s: drawn.append(request) or draw(request, at_s))
    changed = comparer(asked(), asked(guidance__audio=1.0), 0.0)
    assert len(drawn) == 1
    assert changed.before.mouth_apart_mm(changed.after) > 0


def test_another_model_is_refused(comparer, asked):
    request = asked()
    with pytest.raises(UserError, match="Only nano"):
        comparer(request, request.model_copy(update={"model": "preview"}), 0.0)
