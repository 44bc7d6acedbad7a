"""Whose face, and what of it moves: chosen, drawn and painted by hand; nano's draft while a pixel model works."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.contract.variants import TRANSFORMER_WEIGHTS
from engine.media.video import VideoWriter
from studio.tabs.face_boxes import read_box
from tests.browser.studio_steps import (
    EXAMPLE,
    GENERATE,
    Server,
    Visitor,
    expect,
    job_is_sampling,
    owner_of,
    pictures_are_there,
    small_server,
    start_from_example,
)
from tests.conftest import RATE_HZ, voice_like
from tests.serving import serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, examples: Path, chromium: object) -> Iterator[Server]:
    """A pixel model is there, as far as the page can tell; the small engine does its work."""
    folder = tmp_path_factory.mktemp("faces")
    weights = folder / "models" / "preview" / TRANSFORMER_WEIGHTS
    weights.parent.mkdir(parents=True)
    weights.touch()
    server = small_server(folder, examples, pause_s=0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECHOMIMIC_MODELS", str(folder / "models"))
        with serving(*server.command, port=server.port, log=server.log):
            yield server


def drag_over(page, selector: str, box: tuple[float, float, float, float]) -> None:
    pictures_are_there(page)
    page.locator(selector).scroll_into_view_if_needed()
    area = page.locator(selector).bounding_box()
    x0, y0, x1, y1 = box
    page.mouse.move(area["x"] + x0 * area["width"], area["y"] + y0 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + x1 * area["width"], area["y"] + y1 * area["height"], steps=8)
    page.mouse.up()


def test_a_click_chooses_one_of_two_faces_and_a_drag_draws_another(server: Server, visitor: Visitor, tmp_path: Path):
    Image.linear_gradient("L").resize((900, 300)).convert("RGB").save(tmp_path / "two.png")
    page = visitor(server.address)
    page.set_input_files("#image-file input[type=file]", tmp_path / "two.png")
    faces, field = page.locator("#image-card .em-face"), page.locator("#image-face-box textarea, #image-face-box input")
    expect(faces).to_have_count(2)
    expect(page.locator("#image-card .em-found")).not_to_be_visible()
    faces.nth(1).click(force=True)
    expect(field).to_have_value("0.6500, 0.3000, 0.8500, 0.7000")
    drag_over(page, "#image-card .em-picture", (0.05, 0.1, 0.1, 0.9))
    expect(faces).to_have_count(2)  # nothing is drawn before "Draw it" is pressed
    page.click("#image-card .em-draw")
    drag_over(page, "#image-card .em-picture", (0.4, 0.1, 0.6, 0.9))
    page.wait_for_function(
        "() => document.querySelector('#image-face-box textarea, #image-face-box input').value.startsWith('0.4')"
    )
    assert read_box(field.input_value()) == pytest.approx((0.4, 0.1, 0.6, 0.9), abs=0.02)
    expect(page.locator("#image-card .em-draw")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#image-card .em-chosen")).to_have_class("em-face em-drawn em-chosen")
    page.click("#image-card .em-found")
    expect(field).to_have_value("")
    expect(page.locator("#image-card .em-chosen")).to_have_attribute("data-box", re.compile("^0.1000"))
    expect(faces).to_have_count(2)


def test_a_finger_that_swipes_over_the_picture_scrolls_the_page(server: Server, visitor: Visitor):
    page = visitor(server.address, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.locator(EXAMPLE).first.click()
    page.wait_for_selector("#image-card .em-chosen")
    page.locator("#image-card .em-picture").scroll_into_view_if_needed()
    area, before = page.locator("#image-card .em-picture").bounding_box(), page.evaluate("scrollY")
    finger = {"x": area["x"] + area["width"] / 2, "y": area["y"] + area["height"] / 2}
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [finger]})
    for _ in range(25):
        finger = {"x": finger["x"] + 1, "y": finger["y"] - 10}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [finger]})
        page.wait_for_timeout(16)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert page.evaluate("scrollY") > before + 150
    expect(page.locator("#image-face-box textarea, #image-face-box input")).to_have_value("")
    expect(page.locator("#image-card .em-drawn")).to_have_count(0)


def test_nothing_of_the_form_lies_over_the_button(server: Server, visitor: Visitor):
    page = visitor(server.address)
    page.locator(EXAMPLE).first.click()
    page.wait_for_selector("#audio-caption")
    over = """() => {
        const { left, right, top, bottom } = document.querySelector("#generate-button").getBoundingClientRect();
        const found = new Set();
        for (let x = left + 4; x < right; x += 6) for (let y = top + 4; y < bottom; y += 6)
            if (!document.elementFromPoint(x, y)?.closest("#generate-button"))
                found.add(document.elementFromPoint(x, y)?.outerHTML.slice(0, 80));
        return [...found];
    }"""
    for y in range(0, 900, 30):
        page.evaluate("y => window.scrollTo(0, y)", y)
        assert page.evaluate(over) == []


def test_what_is_painted_over_becomes_the_faces_box(server: Server, visitor: Visitor):
    page = visitor(server.address)
    page.locator(EXAMPLE).first.click()
    page.wait_for_selector("#image-card .em-chosen")
    page.click("#image-paint")
    page.wait_for_selector("#image-editor canvas")
    page.click("#image-take")
    expect(page.locator("#error-image-box")).to_contain_text("Nothing is painted")
    field = page.locator("#image-face-box textarea, #image-face-box input")
    for _ in range(5):  # the editor has no sign that the picture is on its canvas, or that a stroke has ended
        if page.locator("#image-take").is_visible():
            drag_over(page, "#image-editor canvas >> nth=-1", (0.45, 0.4, 0.55, 0.5))
            page.wait_for_timeout(1000)
            page.click("#image-take")
        with contextlib.suppress(AssertionError):
            expect(field).not_to_have_value("", timeout=8000)
            break
    x0, y0, x1, y1 = read_box(field.input_value())
    assert x0 < 0.5 < x1 and y0 < 0.5 and 0.0 < (x1 - x0) * (y1 - y0) < 0.5
    expect(page.locator("#image-editor")).to_have_count(0)


def test_the_lower_face_of_a_film_is_drawn_and_sent(server: Server, visitor: Visitor, tmp_path: Path):
    film = tmp_path / "film.mp4"
    with VideoWriter(film, (160, 120), 25, voice_like(0.4), sample_rate_hz=RATE_HZ) as writer:
        for shade in range(10):
            writer.write(np.full((120, 160, 3), 20 * shade, np.uint8))
    page = visitor(server.address)
    page.get_by_role("tab", name="Lip Sync", exact=True).click()
    page.set_input_files("#video-file input[type=file]", film)
    page.wait_for_selector("#video-card .em-lips")
    page.click("#video-card .em-draw")
    drag_over(page, "#video-card .em-picture", (0.2, 0.5, 0.6, 0.9))
    field = page.locator("#video-lip-box textarea, #video-lip-box input")
    expect(field).not_to_have_value("")
    page.locator("#audio-examples button").first.click()
    page.wait_for_selector("#audio-caption")
    page.click(GENERATE)
    page.wait_for_selector("#result-video .em-now, .em-progress")
    (job, *_) = server.jobs(owner_of(page))
    assert job.request["task"] == "lip-sync"
    assert job.request["lip_box"] == pytest.approx(read_box(field.input_value()), abs=1e-4)


def test_nanos_draft_plays_while_a_pixel_model_works(server: Server, visitor: Visitor):
    page = visitor(server.address)
    page.click("#model input")
    page.get_by_role("option", name="preview").click()
    with server.held():
        start_from_example(page)
        job_is_sampling(page)
        page.wait_for_function("() => document.querySelector('#result-draft video')?.played.length > 0")
        page.click("#result-cancel")
    page.wait_for_selector(".em-ended.em-cancelled")
    expect(page.locator("#result-draft video")).to_have_count(0)


def test_a_speaker_is_learned_speaks_counts_and_is_forgotten(server: Server, visitor: Visitor, tmp_path: Path):
    video = tmp_path / "talk.mp4"
    video.write_text("talk")
    page = visitor(server.address)
    page.click("#speakers button.label-wrap")
    page.click("#speaker-learn")
    expect(page.locator("#error-speaker")).to_contain_text("Choose a video")
    page.set_input_files("#speaker-video input[type=file]", video)
    page.locator("#speaker-video").get_by_role("row", name="talk.mp4").wait_for()
    page.fill("#speaker-steps input", "40")
    page.fill("#speaker-name input, #speaker-name textarea", "Ada")
    page.click("#speaker-learn")
    rows = page.locator("#speaker-list li")
    expect(rows).to_contain_text("learning")
    expect(page.locator("#error-speaker")).to_have_count(0)
    expect(rows).to_contain_text("0.4000 after")

    page.click("#model input")
    page.get_by_role("option", name="Nano as Ada").click()
    start_from_example(page)
    expect(page.locator("#result-status .em-facts")).to_contain_text("Ada")
    page.get_by_role("tab", name="Library").click()
    expect(page.locator("#disk-use")).to_contain_text("your own speakers")

    page.get_by_role("tab", name="Talking Head", exact=True).click()
    page.on("dialog", lambda dialog: dialog.accept())
    rows.locator("[data-act=delete]").click()
    expect(rows).to_have_count(0)
    page.reload()
    page.wait_for_selector("#image-card .em-chosen")  # its last job is back
    page.click("#model input")
    expect(page.get_by_role("option", name="Nano (bundled")).to_be_visible()
    expect(page.get_by_role("option", name="Nano as Ada")).to_have_count(0)
