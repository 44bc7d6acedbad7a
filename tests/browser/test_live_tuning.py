"""Live tuning and the queue, in a real browser on a small real engine."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.contract.phases import modality_weight, motion_steps, step_taus
from engine.contract.settings import PhaseBreakpoints
from engine.contract.variants import NANO
from engine.media.video import read_video_frames
from tests.browser.studio_steps import (
    GENERATE,
    VIDEO,
    Server,
    Visitor,
    ask_for_videos,
    choose_example,
    drag,
    expect,
    job_is_sampling,
    owner_of,
    small_server,
    start_from_example,
    video_state,
)
from tests.serving import serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, examples: Path, chromium: object) -> Iterator[Server]:
    server = small_server(tmp_path_factory.mktemp("tuned"), examples, pause_s=0.2)
    with serving(*server.command, port=server.port, log=server.log):
        yield server


def frames_of(server: Server, job: object) -> np.ndarray:
    return np.stack(list(read_video_frames(server.data / "jobs" / job.id / job.request["out"])))


def test_a_dragged_breakpoint_reaches_the_next_step_and_the_record_replays_it(server: Server, visitor: Visitor):
    page = visitor(server.address)
    page.click("#live-tuning button.label-wrap")
    page.wait_for_selector("#curves svg")
    with server.held():  # so that it is known which step runs when the handle is let go
        start_from_example(page)
        job_is_sampling(page)
        drag(page, "phda.audio.low", 300)
        expect(page.locator("#live-said")).to_contain_text("Counts from step 2 of 8")
        expect(page.locator("#setting-phda_audio_low input[type=number]")).to_have_value("300")
    video_state(page)

    (job, *_) = server.jobs(owner_of(page))
    lows = [step["phda"]["audio"]["low"] for step in job.record["settings_by_step"]]
    assert lows == [600, *[pytest.approx(300, abs=3)] * 7]

    page.click("#result-reuse")
    expect(page.locator("#replay-note")).to_contain_text("Replays")
    page.click(GENERATE)
    page.wait_for_function(f"() => !document.querySelector('{VIDEO}')")
    video_state(page)
    replayed, original, *_ = server.jobs(owner_of(page))
    assert original.id == job.id
    assert replayed.request["settings_by_step"] == job.record["settings_by_step"]
    assert np.array_equal(frames_of(server, replayed), frames_of(server, original))


def test_sliders_and_curves_follow_each_other_and_an_idle_breakpoint_says_so(server: Server, visitor: Visitor):
    page = visitor(server.address)
    page.click("#live-tuning button.label-wrap")
    page.wait_for_selector("#curves svg")
    drag(page, "phda.image.high", 150)
    expect(page.locator("#setting-phda_image_high input[type=number]")).to_have_value("150")
    expect(page.locator("#curves li.em-image")).to_contain_text("touches no scheduled step")
    page.fill("#setting-phda_image_high input[type=number]", "900")
    page.locator("#setting-phda_image_high input[type=number]").blur()
    expect(page.locator("#curves li.em-image")).to_contain_text("–900")
    handle = page.locator("#curves [data-name='phda.image.high']")
    handle.focus()
    page.keyboard.press("ArrowRight")  # right is later, so a lower τ
    expect(page.locator("#setting-phda_image_high input[type=number]")).to_have_value("890")
    page.click("#settings-reset")
    expect(page.locator("#setting-phda_image_high input[type=number]")).to_have_value("400")


def test_stopping_early_keeps_what_is_there_and_two_results_can_be_compared(server: Server, visitor: Visitor):
    page = visitor(server.address)
    for button in (None, GENERATE):
        with server.held():
            page.click(button) if button else start_from_example(page)
            job_is_sampling(page)
            page.click("#result-finish")
            expect(page.locator("#result-finish")).to_be_disabled()
        assert video_state(page)["width"] == 512
        expect(page.locator("#result-status")).to_contain_text("Stopped early, after 1 of 8")
    page.locator(".em-hold").hover()
    page.mouse.down()
    expect(page.locator(".em-before")).to_be_visible()
    page.mouse.up()
    expect(page.locator(".em-before")).not_to_be_visible()


def test_waiting_jobs_are_moved_paused_changed_and_deleted(server: Server, visitor: Visitor):
    page = visitor(server.address)
    choose_example(page)
    ask_for_videos(page, 4)
    with server.held():
        page.click(GENERATE)
        rows = page.locator("#queue li")
        expect(rows).to_have_count(3)
        first = rows.first.get_attribute("data-job")
        rows.first.locator("[data-act=down]").click()
        expect(rows.nth(1)).to_have_attribute("data-job", first or "")
        rows.nth(1).locator("[data-act=pause]").click()
        expect(rows.nth(1)).to_contain_text("paused")
        asked: list[str] = []
        page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
        rows.nth(2).locator("[data-act=delete]").click()
        expect(rows).to_have_count(2)
        assert asked == ["Delete this job and its files?"]
        page.locator("#queue [data-act=edit]").last.click()
        expect(page.locator("#editing-note")).to_be_visible()
        page.fill("#prompt textarea", "happy")
        page.click(GENERATE)
        expect(page.locator("#queue")).to_contain_text("happy")
        while left := rows.count():
            rows.last.locator("[data-act=delete]").click()
            expect(rows).to_have_count(left - 1)
        page.click("#result-cancel")
    page.wait_for_selector(".em-ended")


def test_every_take_is_followed_to_its_end_and_a_finished_one_is_not_deleted_for_a_waiting_one(
    server: Server, visitor: Visitor
):
    page = visitor(server.address)
    choose_example(page)
    ask_for_videos(page, 3)
    page.click(GENERATE)
    video_state(page)
    made = page.locator("#queue .em-shelf li[data-state=done]")
    expect(made).to_have_count(2, timeout=60_000)
    expect(page.locator("#queue li[data-state=queued]")).to_have_count(0)
    # A row that is no longer true: what it would delete is a video by now, and stays.
    row, dialogs = made.first, []
    name = row.get_attribute("data-job")
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.accept()))
    row.evaluate("row => { row.dataset.state = 'queued'; row.querySelector('[data-act=delete]').click() }")
    made.last.locator("[data-act=open]").click()
    page.wait_for_timeout(1000)
    assert dialogs == ["Delete this video and its files?"]
    assert [job.state for job in server.jobs(owner_of(page)) if job.id == name] == ["done"]


def test_negative_guidance_that_is_off_says_so_and_is_switched_on_where_it_is_drawn(server: Server, visitor: Visitor):
    page = visitor(server.address)
    page.click("#live-tuning button.label-wrap")
    page.wait_for_selector("#curves svg")
    boost = page.locator("#curves [data-name='png.boost']")
    expect(boost).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#curves li.em-boost")).to_contain_text("off")
    page.click("#curves .em-png-on")
    expect(page.locator("#curves [data-name='png.boost']")).to_have_attribute("aria-disabled", "false")
    expect(page.locator("#curves li.em-boost")).to_contain_text("×")
    expect(page.locator("#png-groups")).to_contain_text("Motion group")


def test_what_is_drawn_is_what_the_contract_says(server: Server, visitor: Visitor):
    """The dots of a curve, in the browser's own arithmetic, are the engine's weights at the steps."""
    page = visitor(server.address)
    page.click("#live-tuning button.label-wrap")
    page.wait_for_selector("#curves svg")
    drag(page, "phda.image.high", 700)
    expect(page.locator("#setting-phda_image_high input[type=number]")).to_have_value("700")
    dots = page.locator("#curves g.em-dots.em-image circle")
    drawn = [1.05 - (y - 30) / 120 * 0.65 for y in dots.evaluate_all("all => all.map(dot => +dot.getAttribute('cy'))")]
    pair = PhaseBreakpoints(low=200, high=700)
    expected = [modality_weight(pair, tau) for tau in step_taus(NANO.default_settings.sampling)]
    assert drawn == pytest.approx(expected, abs=0.01)
    # PNG's steps too, also where a share ends between two of them.
    png = NANO.default_settings.png.model_copy(update={"motion_share": 0.5})
    page.click("#settings button.label-wrap")
    for name, value in (("png_motion_share", "0.5"), ("sampling_steps", "5")):
        number = page.locator(f"#setting-{name} input[type=number]")
        number.fill(value)
        number.blur()
    expect(page.locator("#curves li.em-motion")).to_contain_text(f"{motion_steps(5, png)} / 5")


def test_the_library_finds_a_job_and_a_dropped_video_gives_its_settings_back(
    server: Server, visitor: Visitor, tmp_path: Path
):
    page = visitor(server.address)
    page.fill("#prompt textarea", "very lively")
    start_from_example(page)
    video_state(page)
    with page.expect_download() as download:
        page.click(".em-download")
    mine = tmp_path / "mine.mp4"
    download.value.save_as(mine)

    page.get_by_role("tab", name="Library").click()
    expect(page.locator("#library-list li")).to_have_count(1)
    page.fill("#find textarea, #find input", "no such words")
    expect(page.locator("#library-list li")).to_have_count(0)
    page.fill("#find textarea, #find input", "lively")
    expect(page.locator("#library-list li")).to_contain_text("very lively")

    fresh = visitor(server.address)
    fresh.wait_for_selector("input[type=file]:has(+ #dropped-video)", state="attached")
    bytes_ = list(mine.read_bytes())
    fresh.evaluate(
        """bytes => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(bytes)], "mine.mp4", { type: "video/mp4" }));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true }));
        }""",
        bytes_,
    )
    expect(fresh.locator("#prompt textarea")).to_have_value("very lively")


def test_every_task_has_its_tab_and_says_when_the_model_cannot(server: Server, visitor: Visitor):
    page = visitor(server.address)
    needs = {"Lip Sync": ["video", "image", "audio"], "First/Last Frame": ["image", "last_image", "audio"]}
    for title, fields in needs.items():
        page.get_by_role("tab", name=title, exact=True).click()
        for field in ("image", "last_image", "video", "audio"):
            expect(page.locator(f"#{field}-part")).to_have_count(1 if field in fields else 0)
    page.get_by_role("tab", name="Text to Video", exact=True).click()
    expect(page.locator("#task-note")).to_contain_text("preview / flash")
    expect(page.locator("#task-note")).to_contain_text("python -m engine models download preview")
    page.get_by_role("tab", name="Half Body", exact=True).click()
    expect(page.locator("#task-note")).to_contain_text("hands and arms stay")
    page.fill("#prompt textarea", "she gestures happily with both hands")
    expect(page.locator("#prompt-note")).to_contain_text("they do nothing: gestures, hands.")
    page.fill("#prompt textarea", "happy")
    expect(page.locator("#prompt-note")).to_have_count(0)


def test_the_page_speaks_chinese_where_the_browser_does(server: Server, visitor: Visitor):
    page = visitor(server.address, locale="zh-CN")
    words = json.loads((Path(__file__).parents[2] / "studio" / "words_zh.json").read_text(encoding="utf-8"))
    expect(page.locator(GENERATE)).to_have_text(words["Generate"])
    expect(page.locator("#image-part h2")).to_contain_text(words["Picture"])
    expect(page.locator("#result-status")).to_contain_text(words["Your video appears here."])
    page.locator("#prompt-examples").get_by_text(words["happy, nodding"]).click()
    expect(page.locator("#prompt textarea")).to_have_value("happy, nodding")  # which is what the model knows


def test_a_drag_shows_the_face_before_and_now(server: Server, visitor: Visitor):
    page = visitor(server.address)
    choose_example(page)
    page.click("#live-tuning button.label-wrap")
    page.wait_for_selector("#curves svg")
    page.check("#live-preview-on input")
    drag(page, "phda.audio.low", 300)
    expect(page.locator("#live-preview figcaption")).to_have_text("Mouth 50 % less open, head as before.")
    expect(page.locator("#live-preview polyline")).to_have_count(2)
    film = page.locator("#live-preview video")
    assert film.evaluate("film => film.muted && film.loop") and page.locator("#live-preview video").count() == 1
