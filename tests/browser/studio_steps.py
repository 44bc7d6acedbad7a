"""What the browser's tests have in common: a server on the small engine, and the steps that a visitor takes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from studio.job_rows import Job
from studio.jobs import JobStore
from tests.browser.conftest import sync_api
from tests.serving import free_port
from tests.studio.small_engine import HOLD_FILE

expect = sync_api.expect
GENERATE = "#generate-button"
VIDEO = "#result-video .em-now"
EXAMPLE = "#image-examples button.gallery-item"
Visitor = Callable[..., "sync_api.Page"]


@dataclass(frozen=True)
class Server:
    """Steps of the small engine take `pause_s` on this one."""

    command: tuple[str, ...]
    port: int
    log: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def data(self) -> Path:
        return self.log.parent / "data"

    @contextmanager
    def held(self) -> Iterator[Callable[[int], None]]:
        """A step that has begun does not end until the block does, or until it is not before the step that is given."""
        hold = self.data / HOLD_FILE

        def hold_at(step: int) -> None:
            fresh = hold.with_suffix(".new")
            fresh.write_text(str(step))
            fresh.replace(hold)

        hold_at(0)
        try:
            yield hold_at
        finally:
            hold.unlink()

    def jobs(self, owner: str) -> list[Job]:
        """The owner's jobs, newest first, as another process reads them."""
        store = JobStore(self.data)
        try:
            return store.recent(owner, limit=1000)
        finally:
            store.close()


def small_server(folder: Path, examples: Path, pause_s: float, *logins: str) -> Server:
    port = free_port()
    command = ("-m", "tests.studio.small_engine", str(folder / "data"), str(examples), str(port), str(pause_s), *logins)
    return Server(command, port, folder / "server.log")


def choose_example(page: "sync_api.Page") -> None:
    """The first example picture; the voice that comes with it may be there later."""
    page.locator(EXAMPLE).first.click()
    page.wait_for_selector("#image-card .em-chosen")
    page.wait_for_selector("#audio-caption")


def ask_for_videos(page: "sync_api.Page", count: int) -> None:
    """So many at once, once what the fold holds has come to rest."""
    page.click("#settings button.label-wrap")
    number = page.locator("#count input")
    number.wait_for()
    page.wait_for_timeout(500)
    number.fill(str(count))
    number.press("Tab")
    page.wait_for_timeout(300)
    expect(number).to_have_value(str(count))


def start_from_example(page: "sync_api.Page") -> None:
    choose_example(page)
    page.click(GENERATE)


def job_is_sampling(page: "sync_api.Page") -> None:
    page.wait_for_selector("#result-preview img")


def video_state(page: "sync_api.Page") -> dict[str, float]:
    page.wait_for_function(f"() => document.querySelector('{VIDEO}')?.readyState >= 2")
    return page.evaluate(
        f"() => {{ const v = document.querySelector('{VIDEO}');"
        "return { duration: v.duration, width: v.videoWidth, height: v.videoHeight } }"
    )


def owner_of(page: "sync_api.Page") -> str:
    """Whose jobs a page's are."""
    return ":" + next(cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "echomimic-visitor")


def pictures_are_there(page: "sync_api.Page") -> None:
    """Nothing moves any more because a picture arrives."""
    page.wait_for_function("() => [...document.images].every(each => each.complete || each.loading === 'lazy')")


def drag(page: "sync_api.Page", name: str, tau: int) -> None:
    """Drag the curves' handle to a timestep, and let it go. The ends of the τ axis are its outermost labels."""
    pictures_are_there(page)
    handle = page.locator(f"#curves [data-name='{name}']")
    handle.hover(force=True)  # it stands still from here on
    box = handle.bounding_box()
    ends = [_middle(page.locator(f"#curves [data-tau='{end}']").bounding_box()) for end in (1000, 0)]
    page.mouse.move(_middle(box), box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(ends[0] + (1000 - tau) / 1000 * (ends[1] - ends[0]), box["y"], steps=4)
    page.mouse.up()


def _middle(box: dict[str, float]) -> float:
    return box["x"] + box["width"] / 2
