"""What the page hides is forbidden too: every event and every route of it is tried by whoever may not use it.

The handlers are listed here by name. One that is not is a failure: say who may use it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Mount, Route

from engine.contract.request import build_request
from studio.jobs import DRAFT_NAME, POSTER_NAME
from studio.service import Limits
from tests.studio.small_page import Page, Visitor, served
from tests.studio.test_visitors import a_record
from tests.tiny_nano import save_tiny_nano

LEAD, EVERYBODY = "who leads the studio", "everybody, on what is theirs"
HANDLERS = {
    LEAD: {
        "SpeakerPanel._learn",
        "TrainTab._ask_to_stop",
        "TrainTab._make_pairs",
        "TrainTab._start",
        "_add_candidates_endpoint.<locals>.generate_candidates",
        "_for_leads.<locals>.act",
        "ReviewTab._batches",
        "ReviewTab.offer_trained.<locals>.use",
        "TrainTab._look",
        "TrainTab.show",
    },
    EVERYBODY: {
        "ExportPanel._export",
        "FaceBoxes._chosen",
        "FaceBoxes._open",
        "FaceBoxes._taken",
        "FilmCard.__init__.<locals>.<lambda>",
        "FilmCard._show",
        "MotionPanel._show_edit",
        "MotionPanel._write_motion",
        "MotionPanel.connect.<locals>.redraw",
        "LibraryTab.show",
        "PictureCard._connect.<locals>.<lambda>",
        "PictureCard._show",
        "PictureCard.connect_examples.<locals>.choose",
        "RequestForm._draw_stretch.<locals>.<lambda>",
        "RequestForm._said_of_words",
        "RequestForm.connect_words.<locals>.<lambda>",
        "RequestForm.show_model",
        "SpeakerPanel._act",
        "SpeakerPanel._look",
        "VoiceCard.__init__.<locals>.<lambda>",
        "VoiceCard._show",
        "Workspace._act",
        "Workspace._batch",
        "Workspace._poll",
        "Workspace._redo",
        "Workspace._compare",
        "Workspace._restore_video",
        "Workspace._reuse",
        "Workspace._run_again",
        "Workspace._stop",
        "Workspace._submit",
        "Workspace._take_presets",
        "Workspace._tune",
        "Workspace._tune_by_form",
        "_choose",
        "_connect_library.<locals>.act",
        "_connect_load.<locals>.<lambda>",
        "_as_it_was",
        "_connect_load.<locals>.load",
        "_links",
        "_numbers_of",
        "add_endpoint.<locals>.generate",
        "build_page.<locals>.<lambda>",
    },
}
OPEN_WITHOUT_LOGIN = {
    *("/", "/login", "/login/", "/logout", "/theme.css", "/robots.txt", "/favicon.ico", "/manifest.json"),
    *("/pwa_icon", "/pwa_icon/{size}", "/config", "/config/", "/static/{path:path}", "/assets/{path:path}"),
    *("/svelte/{path:path}", "/gradio_api/theme.css", "/gradio_api/login_check", "/gradio_api/login_check/"),
    *("/gradio_api/user", "/gradio_api/user/", "/gradio_api/startup-events"),
}
"""Routes that the login's own page is drawn from."""
FILES = ("file", "image", "video", "audio", "uploadbutton", "imageeditor")
ACTS = ("open", "edit", "again", "delete", "pause", "up", "stop")
ON_A_SPACE, WITH_LOGINS = "on a Space", "with logins"
SECRET = "what only the victim knows"


@dataclass
class Victim:
    """Somebody with a finished, a waiting and a failed video, an upload and a speaker; and what is theirs."""

    page: Page
    owner: str
    visitor: Visitor
    jobs: list[str]
    upload: str
    model: str

    def world(self) -> dict[str, Any]:
        """Everything that nobody else may change."""
        folder = self.page.studio.store.folder
        trained = [path for part in ("speakers", "review") for path in sorted((folder / part).rglob("*"))]
        return {
            "jobs": [self.page.studio.store.find(job, self.owner) for job in self.jobs],
            "files": [path for path in trained if "sqlite" not in path.name],
            "upload": Path(self.upload).is_file(),
            "batches": self.page.review.store.batches(),
            "by that model": [
                job.id
                for job in map(self.page.studio.store.find_any, self._every_job())
                if job and job.owner != self.owner and job.request["model"] == self.model
            ],
        }

    def _every_job(self) -> list[str]:
        return [path.name for path in self.page.studio.store.files.iterdir()]


def a_victim(page: Page, visitor: Visitor, account: str, portrait: Path, voice: Path) -> Victim:
    store, owner = page.studio.store, f"{account}:{visitor.cookie}"
    asked = build_request({"image": portrait, "audio": voice, "prompt": SECRET, "out": "video.mp4"})
    jobs = [store.submit(owner, replaced) for replaced in (asked, asked, asked)]
    done = store.claim_next()
    assert done is not None
    for name in (done.request["out"], POSTER_NAME, DRAFT_NAME):
        (store.folder_of(done.id) / name).write_text(SECRET)
    store.complete(done.id, a_record(asked))
    failed = store.claim_next()
    assert failed is not None
    store.fail(failed.id, f"{SECRET} failed")
    folder = store.folder / "speakers" / "20260101-000000"
    (folder / "run" / "Ada").mkdir(parents=True)
    model = save_tiny_nano(folder / "run" / "Ada" / "model")
    described = {"owner": owner, "name": "Ada", "steps": 3, "pid": 2**22 + 1}
    (folder / "training.json").write_text(json.dumps(described))
    (folder / "trainer.log").write_text(f"Loss {SECRET}")
    (folder / "end.json").write_text('{"exit_code": 0}')
    return Victim(page, owner, visitor, [job.id for job in jobs], visitor.upload(portrait), str(model))


@pytest.fixture(scope="module", params=[ON_A_SPACE, WITH_LOGINS])
def victim(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, portrait: Path, voice: Path
) -> Iterator[Victim]:
    """One server at a time: Gradio has one folder for uploads in a process."""
    with pytest.MonkeyPatch.context() as patch:
        accounts = None if request.param == ON_A_SPACE else [("lead", "secret"), ("ada", "secret")]
        if accounts is None:
            patch.setenv("SPACE_ID", "owner/space")
        with served(tmp_path_factory.mktemp("page"), auth=accounts, limits=Limits(50, 500, 7200.0)) as page:
            account = accounts[0] if accounts else None
            yield a_victim(page, Visitor(page.address, account), account[0] if account else "", portrait, voice)


on_a_space = pytest.mark.parametrize("victim", [ON_A_SPACE], indirect=True)
with_logins = pytest.mark.parametrize("victim", [WITH_LOGINS], indirect=True)


@pytest.fixture
def stranger(victim: Victim) -> Visitor:
    """Whoever comes: on a Space anybody, with logins an annotator."""
    return Visitor(victim.page.address, ("ada", "secret") if victim.page.blocks.auth else None)


def name_of(fn: Any) -> str:
    return getattr(fn, "__qualname__", "") or getattr(getattr(fn, "func", None), "__qualname__", str(fn))


def handlers(page: Page) -> dict[int, Any]:
    return {number: each for number, each in page.blocks.fns.items() if each.fn is not None}


def test_every_handler_says_who_may_use_it(victim: Victim):
    known = HANDLERS[LEAD] | HANDLERS[EVERYBODY]
    found = {name_of(each.fn) for each in handlers(victim.page).values()}
    assert found - known == set(), "say in HANDLERS who may use these, and see that nobody else can"
    assert known - found == set(), "these are gone"


def data_of(each: Any, words: str, file: dict[str, str] | None, model: str | None) -> list[Any]:
    """What a raw request may put into a handler's inputs."""

    def value(component: Any) -> Any:
        kind, given = component.get_block_name(), getattr(component, "value", None)
        if kind in FILES:
            several = getattr(component, "file_count", "single") != "single"
            editor = {"background": file, "layers": [], "composite": file}
            return editor if kind == "imageeditor" else [file] if several and file else file
        if kind == "textbox":
            return words
        if kind == "api":
            return model if getattr(component, "label", "") == "model" else None
        if model is not None and getattr(component, "elem_id", "") in ("model", "train-model", "candidates-model"):
            return model
        return 1 if kind in ("number", "slider") and given is None else given

    return [value(component) for component in each.inputs]


def tried(victim: Victim, visitor: Visitor, number: int, each: Any, portrait: Path) -> list[str]:
    """Everything that a raw request can ask of the handler with what is the victim's; the answers."""
    own = {"path": visitor.upload(portrait), "meta": {"_type": "gradio.FileData"}}
    theirs = own | {"path": victim.upload}
    acts = ACTS if each.targets[0][1] == "act" else ("",)
    answers = {}
    for words in victim.jobs if acts == ACTS else (victim.jobs[0], ""):
        for file, model in ((None, None), (own, victim.model), (theirs, None)):
            data = data_of(each, words, file, model)
            for act in acts:
                event = {"job": words if act else "", "act": act}
                asked = json.dumps([data, event])
                if asked not in answers:
                    answers[asked] = (
                        called(visitor, each.api_name, data)
                        if each.queue
                        else visitor.cause(number, data, event_data=event).text
                    )
    return list(answers.values())


def called(visitor: Visitor, name: str, data: list[Any]) -> str:
    """What the API says at the end."""
    asked = visitor.client.post(f"gradio_api/call/{name}", json={"data": data})
    if not asked.is_success:
        return asked.text
    return visitor.client.get(f"gradio_api/call/{name}/{asked.json()['event_id']}").text


def test_no_handler_tells_or_changes_what_is_somebody_elses(victim: Victim, stranger: Visitor, portrait: Path):
    before = victim.world()
    for number, each in handlers(victim.page).items():
        for said in tried(victim, stranger, number, each, portrait):
            assert SECRET not in said and "'Ada'" not in said, f"{name_of(each.fn)}: {said[:300]}"
        assert victim.world() == before, name_of(each.fn)


def test_what_is_the_leads_is_refused_to_everybody_else(victim: Victim, stranger: Visitor, portrait: Path):
    for number, each in handlers(victim.page).items():
        if name_of(each.fn) in HANDLERS[LEAD]:
            for said in tried(victim, stranger, number, each, portrait):
                refused = ("Only the lead", "Log in", "not yours", "error")
                assert any(words in said for words in refused) or is_empty(said), f"{name_of(each.fn)}: {said[:300]}"


def is_empty(said: str) -> bool:
    """An answer that updates nothing."""
    return all(not piece or set(piece) <= {"__type__", "props"} for piece in json.loads(said)["data"])


@on_a_space
def test_the_walk_finds_what_is_there_for_whom_it_is(victim: Victim, portrait: Path):
    """Or else it would prove nothing."""
    fresh = replace(victim, jobs=victim.jobs[:1])
    found = {
        name_of(each.fn)
        for number, each in handlers(victim.page).items()
        if name_of(each.fn)
        in ("Workspace._poll", "LibraryTab.show", "_connect_load.<locals>.load", "SpeakerPanel._look")
        and any(SECRET in said for said in tried(fresh, victim.visitor, number, each, portrait))
    }
    assert found == {"Workspace._poll", "LibraryTab.show", "_connect_load.<locals>.load", "SpeakerPanel._look"}


def routes_of(router: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Every path that is served, with one method of it."""
    for route in getattr(router, "routes", []):
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner, before)
        elif isinstance(route, Mount):
            yield (before + route.path, "GET")
            yield from routes_of(route, before + route.path)
        elif isinstance(route, Route) or hasattr(route, "methods"):
            yield from ((before + route.path, method) for method in sorted(route.methods or {"GET"}))


@with_logins
def test_with_logins_every_route_is_closed_but_the_logins_own(victim: Victim):
    nobody = Visitor(victim.page.address)
    found = set(routes_of(victim.page.blocks.app))
    assert {path for path, _ in found} > {"/review/keys/{batch:int}", "/gradio_api/queue/join", "/gradio_api/mcp"}
    for path, method in sorted(found):
        if path not in OPEN_WITHOUT_LOGIN:
            named = path.replace("{batch:int}", "1").replace("{", "").replace("}", "").replace(":path", "")
            answer = nobody.client.request(method, named, json={} if method == "POST" else None)
            assert answer.status_code in (401, 403), (method, path, answer.status_code)
    assert nobody.client.get("config").status_code == 401
    for number in handlers(victim.page):
        assert nobody.cause(number, []).status_code == 401


@on_a_space
def test_on_a_space_nothing_of_the_review_answers_to_strangers(victim: Victim):
    nobody = Visitor(victim.page.address)
    paths = [(path, method) for path, method in routes_of(victim.page.blocks.app) if path.startswith("/review/")]
    assert len(paths) > 5
    for path, method in paths:
        answer = nobody.client.request(method, path.replace("{batch:int}", "1"), json=[] if method == "POST" else None)
        assert answer.status_code == 403, (method, path, answer.status_code)


def test_files_of_others_have_no_address(victim: Victim, stranger: Visitor):
    for job in victim.jobs:
        folder = victim.page.studio.store.folder_of(job)
        for file in folder.iterdir():
            assert stranger.client.get(f"results/{job}/{file.name}").status_code == 404
            assert stranger.client.get(f"gradio_api/file={file}").status_code == 404
    data = victim.page.studio.store.folder
    for path in (victim.upload, data / "secret", data / "jobs.sqlite", "", "%00", f"{data}/uploads", "x" * 5000):
        assert stranger.client.get(f"gradio_api/file={path}").status_code in (403, 404), path
