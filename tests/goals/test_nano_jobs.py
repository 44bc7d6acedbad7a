import shutil
from dataclasses import replace

import pytest
from PIL import Image

from engine.contract.errors import UserError
from engine.session import Session
from goals.nano.clip import ClipJob, Portrait
from goals.nano.jobs import find_jobs, prove_clip


@pytest.fixture(scope="module")
def examples(portrait, speech_wav, tmp_path_factory):
    """One portrait twice and one sentence under two names, in a folder as the proof reads it."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("first", "second"):
        shutil.copy(portrait, folder / f"{name}.jpg")
        shutil.copy(speech_wav, folder / f"{name}.wav")
    return folder


@pytest.fixture(scope="module")
def job(examples, tmp_path_factory) -> ClipJob:
    return next(find_jobs(examples, tmp_path_factory.mktemp("videos"), english=["first"]))


def test_every_portrait_meets_every_speech_with_a_seed_of_its_own(examples, tmp_path):
    jobs = list(find_jobs(examples, tmp_path, english=["second"]))
    assert [job.name for job in jobs] == ["first__first", "first__second", "second__first", "second__second"]
    assert len({job.seed for job in jobs}) == 4
    assert [job.english for job in jobs] == [False, True, False, True]


def test_a_folder_without_examples_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"0 \.jpg portraits and 0 \.wav clips"):
        list(find_jobs(tmp_path, tmp_path, english=[]))


def test_the_real_engine_is_measured_from_its_files(job, nano_folder):
    clip = prove_clip(Session(), job, str(nano_folder))
    assert clip.error is None and clip.ended_well
    assert clip.coverage == 1.0 and clip.mesh_lip_r is not None and clip.viseme_r is not None
    assert clip.psnr_db > 40 and 0 < clip.worst_sharpness <= clip.sharpness < 2
    assert clip.silence_opening is not None and clip.rest_aperture < 0.05
    with Image.open(job.contact_sheet) as sheet:
        assert sheet.width > 1000 and len(sheet.getcolors(1 << 24)) > 1000


def test_a_job_that_fails_is_counted_and_says_why(job, nano_folder, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    clip = prove_clip(Session(), replace(job, portrait=Portrait(text)), str(nano_folder))
    assert not clip.ended_well
    assert "UserError" in clip.error and "text.jpg" in clip.error
