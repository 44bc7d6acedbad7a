"""A real browser on a real page. Skipped, with the reason, where Chromium is not installed."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile

from tests.conftest import RATE_HZ, voice_like

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 40_000
sync_api.expect.set_options(timeout=PATIENCE_MS)

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser is driven faster than a hand could, on cores that it shares with a server and other tests: what fails
    is tried twice more, and is reported as tried again. A defect fails three times."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="package")
def chromium() -> Iterator["sync_api.Browser"]:
    """One for all browser tests, and none after them: while it is open, this thread's event loop runs."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium: "sync_api.Browser") -> Iterator[Callable[..., "sync_api.Page"]]:
    """Makes pages of new visitors: browsers that share nothing."""
    contexts = []

    def visit(address: str, login: tuple[str, str] | None = None, **options: object) -> "sync_api.Page":
        contexts.append(chromium.new_context(**{"viewport": {"width": 1280, "height": 900}} | options))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        if login:
            page.locator("input").first.fill(login[0])
            page.locator("input[type=password]").fill(login[1])
            page.get_by_role("button", name="Login").click()
        page.wait_for_selector("#generate-button")
        return page

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory, portrait: Path) -> Path:
    """One portrait and two voices, as the bundled folder has them."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copy(portrait, folder / "1_navy-portrait.jpg")
    for index, name in enumerate(("1_first-words", "2_a-question")):
        soundfile.write(folder / f"{name}.wav", voice_like(1.0 + index), RATE_HZ)
    return folder
