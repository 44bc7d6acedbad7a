"""What the review tab's browser tests have in common: a folder of clips, and the way to them."""

import time
from pathlib import Path

from engine.contract.request import build_request
from tests.browser.studio_steps import Server, Visitor
from tests.studio.small_engine import SmallEngine

SECONDS = 0.6


def make_clips(folder: Path, portrait: Path, voice: Path, seeds: range, steps: int = 2) -> None:
    """Real small videos with their records, and latents beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        values = {"image": portrait, "audio": voice, "seed": seed, "out": folder / f"clip-{seed}.mp4"}
        request = build_request(values, {"sampling.steps": steps})
        SmallEngine().generate(request, lambda progress: None, keep_latents=folder / f"clip-{seed}.safetensors")


def open_review(visitor: Visitor, server: Server, **options: object):
    page = visitor(server.address, **options)
    page.get_by_role("tab", name="Review").or_(page.get_by_role("tab", name="评审")).click()
    page.wait_for_selector(".em-review .em-hint:not(:empty)", state="attached")
    return page


def call_oneself(page, name: str) -> None:
    page.click(".em-name")
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.wait_for_function("name => document.querySelector('.em-name').firstChild?.textContent === name", arg=name)


def import_folder(page, folder: Path, title: str, overlap: int = 1) -> None:
    page.get_by_role("tab", name="Add clips").click()
    page.fill("#batch-title input, #batch-title textarea", title)
    page.fill("#batch-overlap input", str(overlap))
    page.fill("#batch-folder input, #batch-folder textarea", str(folder))
    page.click("#import-folder")
    page.wait_for_selector("#batch-said .em-notice")
    page.get_by_role("tab", name="Label", exact=True).click()
    # The notice may still be an earlier one's.
    page.locator(".em-batch option", has_text=title).wait_for(state="attached")
    page.wait_for_selector(".em-stage video")


def watch(page) -> None:
    """Until the answers are unlocked."""
    page.wait_for_function(
        "() => document.querySelector('.em-ends .em-end') && !document.querySelector('.em-ends .em-locked')"
    )


def settled(page) -> None:
    page.wait_for_function("() => !document.querySelector('.em-saved').classList.contains('em-waiting')")


def shown(page) -> str:
    return page.get_attribute(".em-stage video", "src")


def next_clip_after(page, before: str, patience_s: float = 40.0) -> str:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if page.locator(".em-stage video").count() and shown(page) != before:
            return shown(page)
        page.wait_for_timeout(20)
    raise AssertionError("the next clip never came")
