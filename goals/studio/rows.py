"""What is measured of the page, row by row, as a visitor in headless Chromium.

On the real nano, its steps held where a moment has to be known. Only the rows about kills and reloads use the small
engine of the tests, because a real one would spend the time loading: page, queue, store and worker are the real ones.
"""

import contextlib
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import soundfile
from gradio_client import Client

from engine.contract.records import read_record
from engine.contract.request import flatten
from engine.contract.variants import TASKS, VARIANTS
from engine.media.video import probe, read_video_frames
from goals.goal import Row
from tests.browser.conftest import PATIENCE_MS, sync_api
from tests.browser.studio_steps import (
    GENERATE,
    VIDEO,
    Server,
    choose_example,
    drag,
    job_is_sampling,
    owner_of,
    small_server,
    video_state,
)
from tests.serving import ROOT, free_port, serving

EXAMPLES = ROOT / "assets" / "examples"
MOMENTS, SESSIONS, PREVIEWS = 20, 8, 5
PREVIEW_GOAL_S, CLICKS_GOAL = 2.0, 4
LONG_MS = 240_000
expect = sync_api.expect


class Proof:
    """The browser, where pictures are kept, and what has been measured so far."""

    def __init__(self, browser: Any, keep: Path, folder: Path) -> None:
        self.browser, self.keep, self.folder = browser, keep, folder
        self.rows: list[Row] = []

    def visit(self, server: Server, **options: Any) -> Any:
        """A new visitor's page."""
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        page = context.new_page()
        page.set_default_timeout(LONG_MS)
        page.goto(server.address)
        page.wait_for_selector(GENERATE)
        return page

    def picture(self, page: Any, name: str, *, whole: bool = False) -> None:
        """Keep what the page looks like."""
        page.screenshot(path=self.keep / f"{name}.png", full_page=whole)

    def row(self, what: str, goal: str, measured: str, met: bool) -> None:
        """Keep and say a line."""
        self.rows.append(Row(what, goal, measured, met))
        print(f"{'met  ' if met else 'SHORT'} {what}: {measured} (goal {goal})", flush=True)


def nano_server(folder: Path) -> Server:
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = ("-m", "tests.browser.held_studio", str(folder / "data"), str(port))
    return Server(command, port, folder / "server.log")


def short_voice(folder: Path, seconds: float) -> Path:
    """The beginning of the bundled speech."""
    speech = EXAMPLES / "01_welcome.wav"
    wave, rate = soundfile.read(speech, frames=int(seconds * soundfile.info(speech).samplerate))
    path = folder / f"voice-{seconds:g}.wav"
    soundfile.write(path, wave, rate)
    return path


def fill(page: Any, voice: Path, pictures: tuple[str, ...] = ("image",), example: int = 0) -> None:
    """Choose an example picture for each card, and a voice."""
    page.set_input_files("#audio-file input[type=file]", voice)
    page.wait_for_selector("#audio-caption")
    for name in pictures:
        page.locator(f"#{name}-examples button.gallery-item").nth(example).click()
        page.wait_for_selector(f"#{name}-card .em-chosen")


def newcomer(proof: Proof, server: Server) -> None:
    page, clicks = proof.visit(server), 0
    proof.picture(page, "newcomer-1-open", whole=True)
    began_s = time.monotonic()
    choose_example(page)
    clicks += 1
    page.click(GENERATE)
    clicks += 1
    job_is_sampling(page)
    proof.picture(page, "newcomer-2-running")
    video_state(page)
    page.wait_for_function(f"() => {{ const v = document.querySelector('{VIDEO}'); return v.currentTime > 0.2 }}")
    made_s = time.monotonic() - began_s
    with page.expect_download() as download:
        page.click(".em-download")
        clicks += 1
    info = probe(Path(download.value.path()))
    proof.picture(page, "newcomer-3-playing")
    met = clicks <= CLICKS_GOAL and info.num_frames > 0 and info.audio_sample_rate_hz is not None
    measured = f"{clicks} clicks (example, Generate, Download; it plays by itself), playing after {made_s:.0f} s"
    proof.row("newcomer: open → example → generate → play → download", "≤ 4 clicks, at the first try", measured, met)
    page.context.close()


def breakpoint_row(proof: Proof, server: Server) -> None:
    page = proof.visit(server)
    fill(page, short_voice(proof.folder, 1.5))
    page.click("#live-tuning button.label-wrap")
    page.wait_for_selector("#curves svg")
    with server.held():
        page.click(GENERATE)
        job_is_sampling(page)
        drag(page, "phda.audio.low", 300)
        expect(page.locator("#live-said")).to_contain_text("next step", timeout=PATIENCE_MS)
        proof.picture(page, "live-tuning")
    video_state(page)
    (job, *_) = server.jobs(owner_of(page))
    lows = [step["phda"]["audio"]["low"] for step in job.record["settings_by_step"]]
    steps = job.request["settings"]["sampling"]["steps"]
    moved = [low != 600 for low in lows]
    at_next = len(lows) == steps and moved == [False] * 2 + [True] * (steps - 2)
    page.click("#result-reuse")
    page.wait_for_selector("#replay-note")
    page.click(GENERATE)
    page.wait_for_function(f"() => !document.querySelector('{VIDEO}')")
    video_state(page)
    replayed, original, *_ = server.jobs(owner_of(page))
    videos = [server.data / "jobs" / one.id / one.request["out"] for one in (original, replayed)]
    pairs = list(zip(*(read_video_frames(video) for video in videos), strict=True))
    same = sum(bool((one == other).all()) for one, other in pairs)
    first = moved.index(True) + 1 if True in moved else "none"
    measured = f"held in step 2 of {steps}; first used in step {first}; replay: {same} of {len(pairs)} frames same"
    goal = "the very next step; replayed frame for frame"
    proof.row("PhDA breakpoint moved during a run", goal, measured, at_next and same == len(pairs))
    page.context.close()


def live_preview(proof: Proof, server: Server) -> None:
    page = proof.visit(server)
    fill(page, short_voice(proof.folder, 1.5))
    page.click("#live-tuning button.label-wrap")
    page.wait_for_selector("#curves svg")
    page.check("#live-preview-on input")
    took = []
    for turn in range(PREVIEWS + 1):
        page.evaluate("() => { window.shownBefore = document.querySelector('#live-preview video')?.src ?? '' }")
        drag(page, "phda.audio.low", 200 + 60 * turn)
        released_s = time.monotonic()
        page.wait_for_function(
            "() => { const v = document.querySelector('#live-preview video');"
            " return v && v.src !== window.shownBefore && v.readyState >= 2 }",
            polling=20,
        )
        if turn:  # the first one loads what is needed
            took.append(time.monotonic() - released_s)
    proof.picture(page, "live-preview")
    measured = f"median {statistics.median(took):.2f} s, slowest {max(took):.2f} s of {len(took)}"
    proof.row(
        "live preview after a handle is let go (nano)", "≤ 2 s", measured, statistics.median(took) <= PREVIEW_GOAL_S
    )
    page.context.close()


def moments(proof: Proof, rng: random.Random) -> None:
    """Reloads, lost networks, restarts and kills while a job runs: is anything lost, or shown to the wrong one?"""
    server = small_server(_made(proof.folder / "moments"), EXAMPLES, pause_s=0.25)
    voice = short_voice(proof.folder, 1.0)
    kinds = ["reload", "network", "restart", "kill -9"] * (MOMENTS // 4)
    rng.shuffle(kinds)
    lost, strange, done = [], 0, dict.fromkeys(sorted(set(kinds)), 0)
    running = _run(server)
    mine, other = proof.visit(server), proof.visit(server)
    for page in (mine, other):
        fill(page, voice, example=int(page is other))
    other.click(GENERATE)
    video_state(other)
    for number, kind in enumerate(kinds):
        began_s = time.monotonic()
        mine.click(GENERATE)
        mine.wait_for_selector(".em-progress")
        time.sleep(rng.uniform(0.0, 2.5))
        if kind == "reload":
            mine.reload()
        elif kind == "network":
            mine.context.set_offline(True)
            time.sleep(1.0)
            mine.context.set_offline(False)
        else:
            running = _again(server, running, hard=kind == "kill -9")
        mine.wait_for_function(
            f"() => document.querySelector('.em-ended.em-interrupted') || document.querySelector('{VIDEO}')"
        )
        if mine.locator(".em-ended.em-interrupted").count():
            if number < 4:
                proof.picture(mine, f"moment-{kind.replace(' ', '')}")
            mine.click("#result-again")
        jobs = server.jobs(owner_of(mine))
        with contextlib.suppress(sync_api.TimeoutError):
            mine.wait_for_function(f"() => document.querySelector('{VIDEO}')?.src.includes('{jobs[0].id}')")
        ended = server.jobs(owner_of(mine))
        if len(ended) != number + 1 or ended[0].state != "done":
            lost.append(f"{kind}: {[job.state for job in ended]}")
        done[kind] += 1
        other.reload()
        other.wait_for_selector(VIDEO)
        strange += _shows_anothers(server, mine, other)
        print(f"      {number + 1} of {len(kinds)}, {kind}: {time.monotonic() - began_s:.0f} s", flush=True)
    _stop(running)
    measured = (
        f"{', '.join(f'{count} × {kind}' for kind, count in done.items())}: {len(lost)} lost {lost or ''}".strip()
    )
    proof.row(
        "reload, network drop, restart, kill −9 at random moments of a job", "0 of 20 jobs lost", measured, not lost
    )
    proof.row("the same: results of another visitor shown, or served by address", "0", str(strange), strange == 0)
    for page in (mine, other):
        page.context.close()


def _shows_anothers(server: Server, mine: Any, other: Any) -> int:
    """How many results either visitor sees, or can fetch, that are the other's."""
    found = 0
    for viewer, owner in ((mine, other), (other, mine)):
        theirs = server.jobs(owner_of(owner))
        page = viewer.content()
        found += sum(job.id in page for job in theirs)
        job = theirs[0]
        for name in (job.request["out"], "poster.jpg", job.request["image"], "preview.webp"):
            found += viewer.request.get(f"{server.address}results/{job.id}/{name}").status != 404
            path = server.data / "jobs" / job.id / name
            found += viewer.request.get(f"{server.address}gradio_api/file={path}").status not in (403, 404)
    return found


def sessions(proof: Proof, server: Server) -> None:
    """Eight visitors at once, on different tabs, two videos each."""
    voice, doing = short_voice(proof.folder, 1.0), TASKS[:4]
    titles = {"talking-head": "Talking Head", "half-body": "Half Body", "lip-sync": "Lip Sync"}
    titles |= {"first-last-frame": "First/Last Frame"}
    broken: list[str] = []
    pages = []
    with server.held():
        for number in range(SESSIONS):
            page, task = proof.visit(server), doing[number % len(doing)]
            page.on("pageerror", lambda error: broken.append(str(error)))
            page.get_by_role("tab", name=titles[task], exact=True).click()
            page.wait_for_selector(f"#{'last_image' if task == 'first-last-frame' else 'image'}-part")
            fill(page, voice, ("image", "last_image") if task == "first-last-frame" else ("image",), number % 3)
            page.fill("#prompt textarea", ("calm", "happy", "sad", "still")[number // 2])
            page.click("#settings button.label-wrap")
            page.fill("#count input", "2")
            page.locator("#count input").blur()
            page.click(GENERATE)
            page.wait_for_selector("#queue li")
            pages.append(page)
        proof.picture(pages[-1], "sessions-waiting")
    owners = [owner_of(page) for page in pages]
    deadline = time.monotonic() + LONG_MS / 1000
    while time.monotonic() < deadline and any(job.unfinished for owner in owners for job in server.jobs(owner)):
        time.sleep(1.0)
    jobs = [server.jobs(owner)[::-1] for owner in owners]
    states = [job.state for mine in jobs for job in mine]
    own = 0
    for page, mine in zip(pages, jobs, strict=True):
        page.reload()
        page.wait_for_selector(VIDEO)
        video = server.data / "jobs" / mine[-1].id / mine[-1].request["out"]
        shown = page.get_attribute(VIDEO, "src") or ""
        own += mine[-1].id in shown and read_record(video).request.seed == mine[-1].request["seed"]
        page.context.close()
    firsts, seconds = ([mine[turn].started_s for mine in jobs] for turn in (0, 1))
    fair = max(firsts) < min(seconds)
    measured = (
        f"{states.count('done')} of {2 * SESSIONS} videos, {len(broken)} script errors, {own} of {SESSIONS} see their "
        f"own; every first video {'before' if fair else 'NOT before'} any second"
    )
    met = states.count("done") == 2 * SESSIONS and not broken and own == SESSIONS and fair
    proof.row("8 browser sessions at once, four tabs, two videos each", "no error, fair, own files", measured, met)


def settings(proof: Proof, server: Server) -> None:
    """Is every setting in the form, a flag, in the API and in the record?"""
    page = proof.visit(server)
    fill(page, short_voice(proof.folder, 1.0))
    page.click(GENERATE)
    video_state(page)
    (made,) = server.jobs(owner_of(page))
    names = set(flatten(VARIANTS["nano"].default_settings.model_dump()))
    used = names - VARIANTS["nano"].inert_settings
    for accordion in ("#settings", "#live-tuning"):
        page.click(f"{accordion} button.label-wrap")
    form = {name for name in used if page.locator(f"#setting-{name.replace('.', '_')}").count() == 1}
    command = [sys.executable, "-m", "engine", "generate", "--help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    flags = {name for name in names if f"--{name} " in said or f"--{name}\n" in said}
    api = Client(server.address, verbose=False).view_api(return_format="dict", print_info=False)
    given = {one["parameter_name"] for one in api["named_endpoints"]["/generate_talking_head"]["parameters"]}
    parameters = {name for name in names if name.replace(".", "_") in given}
    video = server.data / "jobs" / made.id / made.request["out"]
    record = names & set(flatten(read_record(video).request.settings.model_dump()))
    found = {"form": (form, used), "flags": (flags, names), "API": (parameters, names), "record": (record, names)}
    measured = ", ".join(f"{where} {len(has)} of {len(wanted)}" for where, (has, wanted) in found.items())
    missing = sorted({f"{where}: {name}" for where, (has, wanted) in found.items() for name in wanted - has})
    proof.row(
        "every setting by form, flag, API and record",
        "all (the form: all that the model uses)",
        measured + (f"; missing {', '.join(missing)}" if missing else ""),
        not missing,
    )
    page.context.close()


def looks(proof: Proof, server: Server) -> None:
    """Pictures to look at: dark, on a phone, in Chinese; the other tabs."""
    voice = short_voice(proof.folder, 1.0)
    phone = {"viewport": {"width": 390, "height": 844}}
    ways = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": phone, "chinese": {"locale": "zh-CN"}}
    widest = 0
    for name, options in (ways | {"phone-dark-chinese": phone | ways["dark"] | ways["chinese"]}).items():
        page = proof.visit(server, **options)
        fill(page, voice, example=1)
        page.click("#live-tuning button.label-wrap")
        page.wait_for_selector("#curves svg")
        page.wait_for_timeout(600)
        proof.picture(page, f"look-{name}", whole=True)
        if "phone" in name:
            widest = max(widest, page.evaluate("document.documentElement.scrollWidth"))
        page.context.close()
    page = proof.visit(server)
    for title in ("Lip Sync", "First/Last Frame", "Text to Video", "Library"):
        page.get_by_role("tab", name=title, exact=True).click()
        page.wait_for_timeout(1200)
        proof.picture(page, f"tab-{title.lower().replace('/', '-').replace(' ', '-')}", whole=True)
    page.context.close()
    proof.row("390 px wide: page width", "≤ 390 px", f"{widest} px", widest <= 390)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


Running = tuple[contextlib.ExitStack, subprocess.Popen[bytes]]


def _run(server: Server) -> Running:
    stack = contextlib.ExitStack()
    return stack, stack.enter_context(serving(*server.command, port=server.port, log=server.log))


def _again(server: Server, running: Running, *, hard: bool) -> Running:
    stack, process = running
    process.kill() if hard else process.terminate()
    process.wait(30)
    stack.close()
    return _run(server)


def _stop(running: Running) -> None:
    running[0].close()
