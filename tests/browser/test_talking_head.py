"""What a visitor does on the Talking Head tab, in a real browser, on a small real engine."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from engine.media.video import probe
from tests.browser.conftest import PATIENCE_MS, sync_api
from tests.browser.studio_steps import (
    EXAMPLE,
    GENERATE,
    VIDEO,
    Server,
    Visitor,
    choose_example,
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
    server = small_server(tmp_path_factory.mktemp("server"), examples, pause_s=0.25)
    with serving(*server.command, port=server.port, log=server.log):
        yield server


def test_three_clicks_lead_from_the_open_page_to_a_playing_video(server: Server, visitor: Visitor):
    page = visitor(server.address)
    with server.held():
        start_from_example(page)
        job_is_sampling(page)
        expect(page.locator(".em-where")).to_contain_text(re.compile(r"step \d of 8"))
    state = video_state(page)
    assert (state["width"], state["height"]) == (512, 600)
    assert state["duration"] == pytest.approx(1.0, abs=0.1)
    with page.expect_download() as download:
        page.click("#result-video .em-download")
    assert download.value.suggested_filename.endswith(".mp4")
    assert Path(download.value.path()).stat().st_size > 1000
    expect(page.locator(".em-facts")).to_contain_text("512 × 600 px")
    expect(page.locator(".em-facts")).to_contain_text("took")


def test_the_preview_improves_while_the_job_runs(server: Server, visitor: Visitor):
    page = visitor(server.address)
    with server.held() as hold_at:
        start_from_example(page)
        job_is_sampling(page)
        first = page.get_attribute("#result-preview img", "src")
        hold_at(1)
        page.wait_for_function(
            "first => { const now = document.querySelector('#result-preview img'); return now && now.src !== first }",
            arg=first,
        )


def test_a_job_survives_a_reload_with_its_inputs(server: Server, visitor: Visitor):
    page = visitor(server.address)
    page.fill("#prompt textarea", "happy, nodding")
    with server.held():
        start_from_example(page)
        job_is_sampling(page)
        page.reload()
        page.wait_for_selector(".em-progress")
        expect(page.locator("#prompt textarea")).to_have_value("happy, nodding")
        page.wait_for_selector("#image-card .em-chosen")
    assert video_state(page)["width"] == 512
    page.reload()
    assert video_state(page)["width"] == 512


def test_cancel_stops_the_job_and_offers_it_again(server: Server, visitor: Visitor):
    page = visitor(server.address)
    with server.held():
        start_from_example(page)
        job_is_sampling(page)
        page.click("#result-cancel")
        expect(page.locator("#result-cancel")).to_be_disabled()
    page.wait_for_selector(".em-ended.em-cancelled")
    expect(page.locator(VIDEO)).to_have_count(0)
    page.click("#result-again")
    page.wait_for_selector(".em-progress")
    assert video_state(page)["width"] == 512


def test_a_stretch_is_made_anew_beside_its_video(server: Server, visitor: Visitor):
    page = visitor(server.address)
    start_from_example(page)
    video_state(page)
    page.click("#redo button.label-wrap")
    page.fill("#redo-start input", "0.2")
    page.click("#redo-button")
    expect(page.locator("#error-redo_span_s")).to_contain_text("the video lasts 1.00 s")
    page.fill("#redo-stop input", "0.6")
    page.click("#redo-button")
    expect(page.locator(".em-facts")).to_contain_text("0.20–0.60 s made anew")
    assert video_state(page)["duration"] == pytest.approx(1.0, abs=0.1)

    page.click("#result-reuse")
    expect(page.locator("#stretch")).to_contain_text("Makes 0.20–0.60 s of this video anew")
    page.click(GENERATE)
    page.wait_for_selector(".em-progress")
    expect(page.locator(".em-facts")).to_contain_text("0.20–0.60 s made anew")
    again, redone, _ = server.jobs(owner_of(page))
    names = ("redo_span_s", "seed", "settings", "redo_latents")
    assert [again.request[name] for name in names] == [redone.request[name] for name in names]
    page.click("#whole-video")
    expect(page.locator("#stretch")).to_have_count(0)
    page.click(GENERATE)
    page.wait_for_selector(".em-progress")
    assert server.jobs(owner_of(page))[0].request["redo_span_s"] is None


def test_one_visitor_does_not_see_anothers_job(server: Server, visitor: Visitor):
    mine, theirs = visitor(server.address), visitor(server.address)
    with server.held():
        start_from_example(mine)
        job_is_sampling(mine)
        theirs.reload()
        theirs.wait_for_selector(".em-empty")
    video_state(mine)
    theirs.reload()
    theirs.wait_for_selector(".em-empty")
    expect(theirs.locator(VIDEO)).to_have_count(0)


def test_what_is_missing_or_wrong_is_said_beside_its_field(server: Server, visitor: Visitor, tmp_path: Path):
    page = visitor(server.address)
    page.click(GENERATE)
    expect(page.locator("#error-image")).to_contain_text("Choose a picture")

    text = tmp_path / "text.png"
    text.write_text("not a picture")
    page.set_input_files("#image-file input[type=file]", text)
    expect(page.locator("#error-image")).to_contain_text("text.png is not a picture")

    page.reload()
    Image.new("RGB", (300, 300), "grey").save(tmp_path / "wall.png")
    page.wait_for_selector(GENERATE)
    page.set_input_files("#image-file input[type=file]", tmp_path / "wall.png")
    expect(page.locator("#error-image")).to_contain_text("No face found")

    page.locator(EXAMPLE).first.click()
    page.wait_for_selector("#image-card .em-chosen")
    expect(page.locator("#error-image")).to_have_count(0)


def test_two_faces_are_both_drawn_and_a_notice_says_who_speaks(server: Server, visitor: Visitor, tmp_path: Path):
    wide = Image.linear_gradient("L").resize((900, 300)).convert("RGB")
    wide.save(tmp_path / "two.png")
    page = visitor(server.address)
    page.set_input_files("#image-file input[type=file]", tmp_path / "two.png")
    expect(page.locator("#image-card .em-face")).to_have_count(2)
    expect(page.locator("#image-card .em-chosen")).to_have_count(1)
    expect(page.locator("#image-card")).to_contain_text("the larger one speaks")


def test_a_bad_setting_opens_the_settings_and_is_said_there(server: Server, visitor: Visitor):
    page = visitor(server.address)
    choose_example(page)
    page.click("#live-tuning button.label-wrap")
    page.fill("#setting-phda_audio_low input[type=number]", "900")
    page.fill("#setting-phda_audio_high input[type=number]", "100")
    page.locator("#setting-phda_audio_high input[type=number]").blur()
    page.click(GENERATE)
    expect(page.locator("#error-setting-phda_audio_low")).to_contain_text("swap them")
    expect(page.locator(".em-empty")).to_be_visible()


def test_nothing_is_asked_of_another_host_and_no_script_fails(server: Server, chromium: "sync_api.Browser"):
    context = chromium.new_context()
    page = context.new_page()
    asked: list[str] = []
    broken: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("response", lambda answer: broken.append(answer.url) if answer.status >= 400 else None)
    page.goto(server.address)
    start_from_example(page)
    video_state(page)
    context.close()
    assert [url for url in asked if not url.startswith((server.address, "data:", "blob:"))] == []
    assert broken == []


def test_a_phone_shows_everything_without_scrolling_sideways(server: Server, visitor: Visitor):
    page = visitor(server.address, viewport={"width": 390, "height": 844}, color_scheme="dark")
    start_from_example(page)
    video_state(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.get_by_role("button", name="Use via API or MCP")).to_be_visible()


def test_a_lost_connection_is_waited_out(server: Server, visitor: Visitor):
    page = visitor(server.address)
    with server.held():  # so that the page has something to ask for
        start_from_example(page)
        page.wait_for_selector(".em-progress")
        page.context.set_offline(True)
        expect(page.locator("#connection")).to_be_visible()
        page.fill("#prompt textarea", "for the next one")
        page.click(GENERATE)
        page.context.set_offline(False)
        expect(page.locator("#connection")).to_be_hidden()
        expect(page.locator("#prompt textarea")).to_have_value("for the next one")
    video_state(page)
    prompts = [job.request["prompt"] for job in server.jobs(owner_of(page))]
    assert prompts == ["for the next one", ""]


def test_after_a_kill_the_open_page_offers_the_job_again(tmp_path: Path, examples: Path, visitor: Visitor):
    server = small_server(tmp_path, examples, pause_s=1.0)
    with serving(*server.command, port=server.port, log=server.log):
        page = visitor(server.address)
        start_from_example(page)
        page.wait_for_function("() => document.querySelector('.em-progress')?.dataset.step >= 1")
    with serving(*server.command[:-1], "0.1", port=server.port, log=server.log):
        page.wait_for_selector(".em-ended.em-interrupted")
        expect(page.locator(".em-ended")).to_contain_text("goes on from its last finished step")
        page.click("#result-again")
        assert video_state(page)["width"] == 512


def test_nothing_jumps_while_the_page_opens_and_while_the_video_comes(server: Server, chromium: object):
    """The layout shift as browsers count it; .1 is what they call good, a quiet machine stays below .05."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(
        "window.shifts = []; new PerformanceObserver(list => list.getEntries().forEach(entry => "
        "entry.hadRecentInput || shifts.push(entry.value))).observe({ type: 'layout-shift', buffered: true });"
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(server.address)
    page.wait_for_selector("#generate-button")
    page.wait_for_timeout(2000)
    assert page.evaluate("shifts.reduce((sum, one) => sum + one, 0)") <= 0.1
    choose_example(page)
    page.wait_for_timeout(1000)
    page.evaluate("shifts.length = 0")
    page.click(GENERATE)
    video_state(page)
    page.wait_for_timeout(500)
    assert page.evaluate("shifts.reduce((sum, one) => sum + one, 0)") <= 0.1
    context.close()


def test_a_video_is_taken_away_in_a_phones_shape_with_its_captions(server: Server, visitor: Visitor, tmp_path: Path):
    page = visitor(server.address)
    expect(page.locator("#export")).to_have_count(0)
    start_from_example(page)
    video_state(page)
    page.click("#export button.label-wrap")
    captions = page.locator("#export-captions textarea")
    captions.fill("word " * 40)
    page.click("#export-button")
    expect(page.locator("#error-export")).to_contain_text("more than can be read in 1.0 s")
    captions.fill("Good morning.")
    page.click("#export-button")
    links = page.locator("#export-files a")
    expect(links).to_have_count(3)
    with page.expect_download() as download:
        links.first.click()
    assert download.value.suggested_filename.endswith("-9x16.mp4")
    download.value.save_as(tmp_path / "phone.mp4")
    info = probe(tmp_path / "phone.mp4")
    assert (info.width_px, info.height_px) == (720, 1280)
    stranger = visitor(server.address)
    address = links.first.get_attribute("href")
    assert page.request.get(f"{server.address}{address}").status == 200
    assert stranger.request.get(f"{server.address}{address}").status == 404


def test_a_finished_video_is_made_to_move_otherwise(server: Server, visitor: Visitor):
    page = visitor(server.address)
    start_from_example(page)
    video_state(page)
    page.click("#motion button.label-wrap")
    head = page.locator("#motion-head input[type=number]")
    head.fill("50")
    head.press("Enter")
    page.wait_for_selector("#motion-preview img")
    page.click("#motion-blink-here")
    expect(page.locator("#motion-blinks textarea")).to_have_value(re.compile(r"^\d\.\d\d$"))
    page.click("#motion-arkit")
    address = page.locator("#motion-file a").get_attribute("href")
    assert address and page.request.get(server.address + address).text() == "Timecode\n"
    page.fill("#motion-blinks textarea", "99")
    page.click("#motion-redraw")
    expect(page.locator("#error-motion")).to_contain_text("the clip lasts 1.00 s")
    page.fill("#motion-blinks textarea", "0.5")
    page.click("#motion-redraw")
    expect(page.locator(".em-facts")).to_contain_text("blinks at 0.5 s")
    expect(page.locator(".em-facts")).to_contain_text("Head 50 %")
    expect(head).to_have_value("50")
    redrawn, first = server.jobs(owner_of(page))
    assert redrawn.request["seed"] == first.request["seed"] and redrawn.request["motion"]["head"] == 50
