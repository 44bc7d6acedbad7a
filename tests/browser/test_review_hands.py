"""The annotator's hands in a real browser: where the keys go, what a keyboard of another country gives, who one is."""

import json
import re
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
FOCUS = "() => document.activeElement.className || document.activeElement.tagName"
PRESSED = """([key, code, more]) => {
    const target = document.activeElement ?? document.body;
    target.dispatchEvent(new KeyboardEvent("keydown", { key, code, bubbles: true, cancelable: true, ...more }));
}"""
"""A key as another country's keyboard gives it: Chromium's own driver types on an American one."""

DIGITS = [
    ("&", "Digit1", {}, "1"),
    ("é", "Digit2", {}, "2"),
    ("-", "Digit6", {}, "6"),
    ("à", "Digit0", {}, "0"),
    ("6", "Digit6", {"shiftKey": True}, "6"),
    (")", "Minus", {}, "-"),
    ("ß", "Minus", {}, "-"),
    ("-", "Slash", {}, "-"),
    ("=", "Digit0", {"shiftKey": True}, "="),
    ("Dead", "Equal", {}, "="),
    ("7", "Numpad7", {}, "7"),
]
"""What French, German, Czech and American keyboards give, and what is meant."""
NOT_OURS = [
    ("a", "KeyQ", {}),
    ("!", "Digit1", {"shiftKey": True}),
    ("_", "Digit8", {"shiftKey": True}),
    ("2", "Digit2", {"isComposing": True}),
    ("m", "Semicolon", {}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, portrait: Path, voice: Path) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    make_clips(folder, portrait, voice, range(CLIPS))
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, examples: Path, chromium: object) -> Iterator[Server]:
    server = small_server(tmp_path_factory.mktemp("studio"), examples, pause_s=0.0)
    with serving(*server.command, port=server.port, log=server.log):
        yield server


@pytest.fixture
def page(request: pytest.FixtureRequest, server: Server, visitor: Visitor, folder: Path):
    """A batch of the test's own, its first clip watched."""
    page = open_review(visitor, server)
    import_folder(page, folder, request.node.name)
    watch(page)
    return page


def pressed(page, key: str, code: str, **more: object) -> None:
    page.evaluate(PRESSED, [key, code, more])


def marked(page) -> list[str]:
    return page.locator(".em-marked").evaluate_all("all => all.map(each => each.dataset.key)")


def test_a_name_is_changed_on_purpose_only_and_enter_gives_the_keys_back(page):
    call_oneself(page, "anna")
    page.keyboard.press("2")
    expect(page.locator(".em-marked")).to_have_count(1)
    expect(page.locator(".em-name")).to_contain_text("anna")
    page.click(".em-name")
    page.keyboard.type("otto")
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    expect(page.locator(".em-marked")).to_have_count(2)
    expect(page.locator(".em-name")).to_contain_text("anna")


def test_choosing_a_batch_gives_the_keys_back(page, folder: Path):
    import_folder(page, folder, "Second of them")
    titles = page.locator(".em-batch option").all_inner_texts()
    page.locator(".em-batch").focus()
    page.select_option(".em-batch", label=titles[1])
    watch(page)
    before = shown(page)
    page.keyboard.press("s")
    next_clip_after(page, before)
    assert page.locator(".em-batch option:checked").inner_text() == titles[1]
    page.locator(".em-batch").focus()
    watch(page)
    page.keyboard.press("5")
    expect(page.locator(".em-marked")).to_have_count(1)


def test_enter_finishes_the_clip_though_the_help_has_the_focus(page):
    before = shown(page)
    page.keyboard.press("5")
    page.click(".em-help summary")
    page.locator(".em-help summary").focus()
    page.keyboard.press("Enter")
    next_clip_after(page, before)
    expect(page.locator(".em-help")).to_have_attribute("open", "")


def test_every_keyboards_digits_mark_what_stands_there(page):
    for key, code, more, meant in DIGITS:
        pressed(page, key, code, **more)
        assert (key, code, marked(page)) == (key, code, [meant])
        pressed(page, meant, "Unknown")
        assert marked(page) == []


def test_no_key_is_taken_for_another(page):
    page.keyboard.press("4")
    before = page.locator(".em-key.em-current").inner_text()
    for key, code, more in NOT_OURS:
        pressed(page, key, code, **more)
        now = page.locator(".em-key.em-current").inner_text()
        assert (key, code, marked(page), now) == (key, code, ["4"], before)


def test_letters_of_another_alphabet_are_taken_by_their_place(page):
    before = shown(page)
    pressed(page, "п", "KeyG")
    second = next_clip_after(page, before)
    pressed(page, "ы", "KeyS")
    third = next_clip_after(page, second)
    pressed(page, "г", "KeyU")
    assert next_clip_after(page, third) == second


def test_a_note_survives_the_enter_that_ends_a_word(page):
    page.keyboard.press("n")
    page.keyboard.type("ni")
    pressed(page, "Enter", "Enter", isComposing=True)
    assert "em-note" in page.evaluate(FOCUS)
    page.keyboard.press("Enter")
    assert "em-note" not in page.evaluate(FOCUS)


def test_a_moment_and_a_place_may_come_before_the_issue(page, server: Server):
    page.keyboard.press(".")
    page.keyboard.press("i")
    expect(page.locator(".em-hint")).to_contain_text("Kept")
    page.keyboard.press("e")
    box = page.locator(".em-stage figure").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6, steps=3)
    page.mouse.up()
    before = shown(page)
    for key in ("g", "Enter"):
        page.keyboard.press(key)
        expect(page.locator(".em-hint.em-bad")).to_contain_text("press the key of what is wrong")
        assert shown(page) == before
    page.keyboard.press("7")
    page.keyboard.press("Enter")
    next_clip_after(page, before)
    settled(page)
    lines = httpx.get(f"{server.address}review/export/negatives.jsonl").text.splitlines()
    (issue,) = json.loads(lines[-1])["issues"]
    assert (issue["id"], issue["severity"]) == ("hands", 3)
    assert issue["frames"][0] > 0 and issue["region"] == pytest.approx([0.2, 0.2, 0.6, 0.6], abs=0.03)


def test_what_was_kept_for_an_issue_is_taken_back_first(page):
    page.keyboard.press("o")
    expect(page.locator("u.em-pending")).to_have_count(1)
    page.keyboard.press("u")
    expect(page.locator("u.em-pending")).to_have_count(0)
    page.keyboard.press("r")
    expect(page.locator(".em-hint.em-bad")).to_contain_text("No region")


def test_undo_is_in_sight_and_leads_to_a_clip_that_can_be_answered_at_once(page):
    page.set_viewport_size({"width": 1366, "height": 657})
    before = shown(page)
    page.keyboard.press("g")
    second = next_clip_after(page, before)
    undo = page.locator(".em-ends [data-key=u]").bounding_box()
    assert undo["y"] + undo["height"] <= 657
    page.evaluate("() => (HTMLMediaElement.prototype.play = async () => {})")
    page.keyboard.press("u")
    assert next_clip_after(page, second) == before
    expect(page.locator(".em-ends .em-locked")).to_have_count(0)
    page.keyboard.press("g")
    assert next_clip_after(page, before) == second


def test_progress_is_that_of_the_batch_and_of_today(page):
    expect(page.locator(".em-pace")).to_contain_text(f"0 of {CLIPS}")
    page.keyboard.press("g")
    expect(page.locator(".em-pace")).to_contain_text(f"1 of {CLIPS} · 1 today")
    page.reload()
    page.get_by_role("tab", name="Review").click()
    expect(page.locator(".em-pace")).to_contain_text(f"1 of {CLIPS} · 1 today")


def test_an_empty_review_begins_with_one_button(tmp_path: Path, examples: Path, visitor: Visitor):
    server = small_server(tmp_path, examples, pause_s=0.0)
    with serving(*server.command, port=server.port, log=server.log):
        page = open_review(visitor, server)
        expect(page.locator(".em-first li")).to_have_count(3)
        shown_keys = page.locator(".em-keyboard kbd").all_inner_texts()
        assert {"1", "=", "G", "U", "↵"} <= set(shown_keys) and len(shown_keys) == len(set(shown_keys))
        page.get_by_role("button", name="Label 12 clips of the bundled examples").click()
        page.wait_for_selector(".em-stage video")
        expect(page.locator(".em-first")).to_be_hidden()
        expect(page.locator(".em-batch option:checked")).to_have_text("Bundled examples")


def logged_in(visitor: Visitor, server: Server, name: str):
    """Through Gradio's own form, then to the review tab."""
    page = visitor(server.address, login=(name, "secret"))
    page.get_by_role("tab", name="Review").click()
    page.wait_for_selector(".em-review .em-hint:not(:empty)", state="attached")
    return page


def test_a_restart_logs_nobody_out_and_who_is_logged_out_is_told_so_and_loses_nothing(
    tmp_path: Path, examples: Path, visitor: Visitor, folder: Path
):
    server = small_server(tmp_path, examples, 0.0, "lead:secret", "ada:secret")
    with serving(*server.command, port=server.port, log=server.log) as process:
        lead = logged_in(visitor, server, "lead")
        import_folder(lead, folder, "Kept")
        page = logged_in(visitor, server, "ada")
        expect(page.locator("#review-tabs [data-tab-id=agreement]").first).to_be_visible()
        for tab in ("add", "export", "train"):
            expect(page.locator(f"#review-tabs [data-tab-id={tab}]").first).to_be_hidden()
        watch(page)
        before = shown(page)
        process.kill()
        process.wait()
        page.keyboard.press("3")
        with serving(*server.command, port=server.port, log=server.log) as restarted:
            wait_until_answering(server.port, restarted, server.log)
            settled(page)
            expect(page.locator(".em-saved a")).to_have_count(0)
        page.context.clear_cookies(name=re.compile("access-token"))
        page.keyboard.press("8")
        page.keyboard.press("Enter")
        with serving(*server.command, port=server.port, log=server.log) as again:
            wait_until_answering(server.port, again, server.log)
            link = page.locator(".em-saved a")
            expect(link).to_have_text("You were logged out; log in, 2 keys wait")
            with page.context.expect_page() as opened:
                link.click()
            login = opened.value
            login.locator("input").first.fill("ada")
            login.locator("input[type=password]").fill("secret")
            login.get_by_role("button", name="Login").click()
            next_clip_after(page, before)
            settled(page)


FRENCH = {"KeyQ": "a", "KeyA": "q", "KeyG": "g", "Minus": ")", "Digit6": "-", "Comma": ";", "KeyM": ",", "Equal": "="}
RUSSIAN = {"KeyQ": "й", "KeyG": "п", "Minus": "-", "Comma": "б", "Equal": "="}
CAPS = """async ([given, keys]) => {
    const getLayoutMap = async () => new Map(Object.entries(given));
    Object.defineProperty(navigator, "keyboard", { value: { getLayoutMap }, configurable: true });
    const layout = em.reviewLayout(() => false);
    await layout.look();
    return keys.map(layout.cap);
}"""


def test_the_caps_show_what_stands_on_this_keyboard(page):
    assert page.evaluate(CAPS, [FRENCH, ["q", "g", "-", "6", ",", "="]]) == ["Q", "G", ")", "6", ",", "="]
    assert page.evaluate(CAPS, [RUSSIAN, ["q", "g", "-", ",", "Enter"]]) == ["Q Й", "G П", "-", "Б", "Enter"]


def test_a_training_says_beforehand_what_it_lacks(page):
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    settled(page)
    page.get_by_role("tab", name="Train").click()
    plan = page.locator("#train-plan")
    expect(plan.locator("li.em-bad")).to_contain_text("made by another model")
    expect(plan).to_contain_text("minutes of speech that come with the studio")
    page.locator("#train-preset").get_by_text("Gently").click()
    expect(page.locator("#train-steps input")).to_have_value("200")
    page.click("#train")
    failed = page.locator("#error-train")
    expect(failed).to_contain_text("No clip of this model")
    assert "--" not in failed.inner_text() and page.locator("#train-stop").is_hidden()
