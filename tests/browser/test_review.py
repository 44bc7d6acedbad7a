"""An annotator at the keyboard, in a real browser: clips, pairs, a server that goes away, and the leads' tabs."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.browser.review_steps import (
    call_oneself,
    import_folder,
    make_clips,
    next_clip_after,
    open_review,
    settled,
    shown,
    watch,
)
from tests.browser.studio_steps import Server, Visitor, expect, small_server
from tests.serving import serving, wait_until_answering

CLIPS = 6
PLAY = "HTMLMediaElement.prototype.play"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, portrait: Path, voice: Path) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    make_clips(folder, portrait, voice, range(CLIPS))
    return folder


@pytest.fixture
def server(tmp_path: Path, examples: Path, chromium: object) -> Iterator[Server]:
    server = small_server(tmp_path, examples, pause_s=0.0)
    with serving(*server.command, port=server.port, log=server.log):
        yield server


def exported(server: Server, name: str = "negatives.jsonl") -> str:
    return httpx.get(f"{server.address}review/export/{name}").text


def test_clips_are_labelled_with_keys_alone(server: Server, visitor: Visitor, folder: Path):
    page = open_review(visitor, server)
    # Nothing plays before the key is pressed, however slow this is.
    page.evaluate(
        "() => { em.play = HTMLMediaElement.prototype.play; HTMLMediaElement.prototype.play = async () => {} }"
    )
    import_folder(page, folder, "By keys")
    first = shown(page)
    page.keyboard.press("g")
    expect(page.locator(".em-hint.em-bad")).to_be_visible()
    assert shown(page) == first, "an answer before the clip was played must not count"
    page.evaluate(
        "() => { HTMLMediaElement.prototype.play = em.play; document.querySelector('.em-stage video').play() }"
    )
    watch(page)
    page.keyboard.press("5")
    page.keyboard.press("e")
    page.keyboard.press(".")
    page.keyboard.press("i")
    box = page.locator(".em-stage figure").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.5, steps=3)
    page.mouse.up()
    page.keyboard.press("n")
    page.keyboard.type("at the start")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    second = next_clip_after(page, first)
    watch(page)
    page.keyboard.press("g")
    third = next_clip_after(page, second)
    settled(page)
    records = [json.loads(line) for line in exported(server).splitlines()]
    assert [record["verdict"] for record in records] == ["bad", "good"]
    (issue,) = records[0]["issues"]
    assert (issue["id"], issue["severity"], records[0]["note"]) == ("jitter", 3, "at the start")
    assert issue["region"] == pytest.approx([0.25, 0.25, 0.75, 0.5], abs=0.02)
    assert issue["frames"][0] > 0
    page.keyboard.press("u")
    assert next_clip_after(page, third) == second
    page.keyboard.press("u")
    assert next_clip_after(page, second) == first
    expect(page.locator(".em-marked")).to_have_count(1)
    expect(page.locator(".em-note")).to_have_value("at the start")
    page.reload()
    page.get_by_role("tab", name="Review").click()
    page.wait_for_selector(".em-marked")
    assert shown(page) == first


def test_keys_that_the_server_missed_are_sent_again(server: Server, visitor: Visitor, folder: Path):
    page = open_review(visitor, server)
    import_folder(page, folder, "Away and back")
    watch(page)
    first = shown(page)
    page.context.set_offline(True)
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    expect(page.locator(".em-saved.em-waiting")).to_be_visible()
    assert shown(page) == first, "the next clip must not show before the answer is kept"
    page.context.set_offline(False)
    next_clip_after(page, first)
    settled(page)
    assert sum('"blur"' in line for line in exported(server).splitlines()) == 1


def test_a_killed_servers_clip_is_where_it_was(
    tmp_path: Path, examples: Path, visitor: Visitor, folder: Path, chromium: object
):
    server = small_server(tmp_path, examples, pause_s=0.0)
    with serving(*server.command, port=server.port, log=server.log) as process:
        page = open_review(visitor, server)
        import_folder(page, folder, "Killed")
        watch(page)
        first = shown(page)
        page.keyboard.press("8")
        settled(page)
        process.kill()
        process.wait()
        page.keyboard.press("9")
        page.keyboard.press("Enter")
        with serving(*server.command, port=server.port, log=server.log) as again:
            wait_until_answering(server.port, again, server.log)
            next_clip_after(page, first)
            (record,) = (json.loads(line) for line in exported(server).splitlines())
            assert {issue["id"] for issue in record["issues"]} == {"colour-shift", "over-exposure"}


def test_four_hundred_clips_an_hour_are_possible(server: Server, visitor: Visitor, folder: Path):
    """What the page adds to watching a clip: nine seconds a clip, six of them the clip's at normal speed."""
    page = open_review(visitor, server)
    import_folder(page, folder, "Quick")
    waits_s = []
    before = shown(page)
    for _ in range(CLIPS - 1):
        watch(page)
        pressed = time.monotonic()
        page.keyboard.press("g")
        before = next_clip_after(page, before)
        waits_s.append(time.monotonic() - pressed)
    assert sorted(waits_s)[len(waits_s) // 2] < 1.5


def test_a_new_batch_shows_by_itself(server: Server, visitor: Visitor, folder: Path, portrait: Path, voice: Path):
    page = open_review(visitor, server)
    expect(page.locator(".em-batch")).to_be_hidden()
    make_clips(folder.parent / "one", portrait, voice, range(1))
    import_folder(page, folder.parent / "one", "First")
    other = open_review(visitor, server)
    watch(other)
    other.keyboard.press("g")
    other.wait_for_selector(".em-review.em-idle")
    import_folder(page, folder, "Second")
    for each in (page, other):
        expect(each.locator(".em-batch option:checked")).to_have_text("Second")
        expect(each.locator(".em-stage video")).to_be_visible()


def test_two_annotators_do_not_see_each_other(server: Server, visitor: Visitor, folder: Path):
    page = open_review(visitor, server)
    call_oneself(page, "ada")
    import_folder(page, folder, "Two of them", overlap=3)
    watch(page)
    first = shown(page)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    next_clip_after(page, first)
    settled(page)
    other = open_review(visitor, server)
    call_oneself(other, "ben")
    other.wait_for_selector(".em-stage video")
    assert shown(other) == first
    expect(other.locator(".em-marked")).to_have_count(0)
    other.get_by_role("tab", name="Agreement and progress").click()
    other.wait_for_selector(".em-numbers")
    expect(other.locator(".em-agreement")).not_to_contain_text("ada")
    other.get_by_role("tab", name="Label", exact=True).click()
    watch(other)
    other.keyboard.press("1")
    other.keyboard.press("Enter")
    next_clip_after(other, first)
    settled(other)
    other.get_by_role("tab", name="Agreement and progress").click()
    expect(other.locator(".em-agreement")).to_contain_text("ada")


def test_pairs_are_made_and_compared(server: Server, visitor: Visitor, examples: Path, nano_folder: Path):
    page = open_review(visitor, server)
    page.get_by_role("tab", name="Add clips").click()
    page.fill("#batch-title input, #batch-title textarea", "Which one")
    page.fill("#candidates-other input, #candidates-other textarea", str(nano_folder))
    page.fill("#candidates-seeds input", "2")
    page.set_input_files("#candidates-images input[type=file]", str(examples / "1_navy-portrait.jpg"))
    page.set_input_files("#candidates-voices input[type=file]", str(examples / "1_first-words.wav"))
    expect(page.locator("#candidates-images")).to_contain_text("1_navy-portrait")
    expect(page.locator("#candidates-voices")).to_contain_text("1_first-words")
    page.click("#generate-candidates")
    page.wait_for_selector("#batch-said .em-notice")
    page.get_by_role("tab", name="Label", exact=True).click()
    page.select_option(".em-batch", label="Which one")
    page.wait_for_selector(".em-stage.em-pair video >> nth=1")
    first = shown(page)
    watch(page)
    page.keyboard.press("2")
    next_clip_after(page, first)
    watch(page)
    page.keyboard.press("0")
    settled(page)
    page.wait_for_selector(".em-review.em-idle")
    assert len(exported(server, "preferences.csv").splitlines()) == 3
    page.get_by_role("tab", name="Agreement and progress").click()
    page.select_option(".em-agreement select", label="Which one")
    expect(page.locator(".em-agreement")).to_contain_text("sign test")


def test_a_label_can_be_given_on_a_phone_in_chinese(server: Server, visitor: Visitor, folder: Path):
    page = open_review(visitor, server)
    import_folder(page, folder, "Phone")
    phone = open_review(visitor, server, locale="zh-CN", color_scheme="dark", has_touch=True)
    phone.set_viewport_size({"width": 390, "height": 844})
    phone.wait_for_selector(".em-stage video")
    assert phone.evaluate("() => document.documentElement.scrollWidth") <= 390
    expect(phone.locator(".em-issues")).to_contain_text("口型不对")
    watch(phone)
    before = shown(phone)
    phone.locator(".em-key[data-key=g]").tap()
    next_clip_after(phone, before)
