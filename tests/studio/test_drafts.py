"""While a pixel model works, nano's draft of the same request is made beside the job."""

from pathlib import Path

from engine.contract.request import GenerationRequest, build_request
from engine.contract.variants import NANO
from engine.media.video import probe
from studio.drafts import begin_draft, draft_request
from studio.jobs import DRAFT_NAME, JobStore
from tests.studio.small_engine import SmallEngine


def asked_of(model: str, portrait: Path, voice: Path, **more: object) -> GenerationRequest:
    values = {"image": portrait, "audio": voice, "model": model, "prompt": "happy", "seed": 4, "out": "out.mp4"}
    return build_request(values | more)


def test_nano_is_asked_for_the_same_with_its_own_settings(portrait: Path, voice: Path):
    wanted = draft_request(asked_of("preview", portrait, voice, face_box=(0.1, 0.1, 0.9, 0.9)), Path("draft.mp4"))
    assert (wanted.model, wanted.prompt, wanted.seed, wanted.face_box) == ("nano", "happy", 4, (0.1, 0.1, 0.9, 0.9))
    assert wanted.settings == NANO.default_settings


def test_what_nano_makes_anyhow_or_cannot_make_has_no_draft(portrait: Path, voice: Path):
    assert draft_request(asked_of("nano", portrait, voice), Path("draft.mp4")) is None
    words_alone = asked_of("preview", portrait, voice, task="text-to-video", image=None)
    assert draft_request(words_alone, Path("draft.mp4")) is None


def test_the_draft_lies_beside_the_job_until_it_has_ended(store: JobStore, portrait: Path, voice: Path):
    store.submit("me", asked_of("preview", portrait, voice))
    job = store.claim_next()
    assert store.draft_of(job) is None
    begin_draft(store, SmallEngine().ports(), job, store.request_of(job)).join(30)
    assert probe(store.draft_of(job)).num_frames == 32
    assert begin_draft(store, SmallEngine().ports(), job, store.request_of(job)) is None
    store.cancelled(job.id)
    assert store.draft_of(store.find(job.id, "me")) is None
    assert (store.folder_of(job.id) / DRAFT_NAME).is_file()


def test_a_draft_that_fails_says_so_in_the_log_only(store: JobStore, portrait: Path, voice: Path, tmp_path: Path):
    store.submit("me", asked_of("preview", portrait, voice))
    job = store.claim_next()
    broken = tmp_path / "text.png"
    broken.write_text("not a picture")
    request = store.request_of(job).model_copy(update={"image": broken})
    begin_draft(store, SmallEngine().ports(), job, request).join(30)
    assert store.draft_of(job) is None
    assert store.find(job.id, "me").state == "running"
