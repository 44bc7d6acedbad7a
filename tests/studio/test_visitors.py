"""Nobody gets another's files by their address; what was uploaded does not stay."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from engine.contract.records import GenerationRecord
from engine.contract.request import GenerationRequest
from studio.jobs import POSTER_NAME, JobStore
from studio.visitors import COOKIE, VisitorGate


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "uploads"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def gated(store: JobStore, uploads: Path) -> Iterator[Starlette]:
    """What the gate stands before: a page, an upload and a file route that would serve everything."""

    async def upload(request: Request) -> JSONResponse:
        folder = uploads / "0123abcd"
        folder.mkdir(exist_ok=True)
        (folder / "mine.txt").write_bytes(await request.body())
        return JSONResponse([str(folder / "mine.txt")])

    async def serve(request: Request) -> FileResponse:
        return FileResponse(request.path_params["path"])

    routes = [
        Route("/", lambda request: PlainTextResponse("page")),
        Route("/gradio_api/upload", upload, methods=["POST"]),
        Route("/gradio_api/file={path:path}", serve),
    ]
    yield VisitorGate(Starlette(routes=routes), store, uploads)


def new_visitor(gated: Starlette, **headers: str) -> TestClient:
    client = TestClient(gated, headers=headers)
    client.get("/")
    return client


def test_an_upload_comes_back_to_its_uploader_alone(gated: Starlette):
    mine, theirs, nobody = new_visitor(gated), new_visitor(gated), TestClient(gated)
    (path,) = mine.post("/gradio_api/upload", content=b"secret").json()
    address = f"/gradio_api/file={path}"
    assert mine.get(address).content == b"secret"
    assert theirs.get(address).status_code == nobody.get(address).status_code == 404
    around = path.replace("/uploads/", "/uploads/../uploads/")
    assert theirs.get(f"/gradio_api/file={around}").status_code == 404


def test_a_result_comes_to_its_owner_alone(gated: Starlette, store: JobStore, asked: GenerationRequest):
    mine, theirs, nobody = new_visitor(gated), new_visitor(gated), TestClient(gated)
    store.submit(f":{mine.cookies[COOKIE]}", asked)
    job = store.claim_next()
    folder = store.folder_of(job.id)
    (folder / job.request["out"]).write_bytes(b"video")
    (folder / POSTER_NAME).write_bytes(b"poster")
    store.complete(job.id, a_record(asked))
    for name, content in ((job.request["out"], b"video"), (POSTER_NAME, b"poster")):
        assert mine.get(f"/results/{job.id}/{name}").content == content
        assert theirs.get(f"/results/{job.id}/{name}").status_code == 404
        assert nobody.get(f"/results/{job.id}/{name}").status_code == 404
    for visitor in (mine, theirs):  # inputs have no address, and the folder is not served by its path
        assert visitor.get(f"/results/{job.id}/{job.request['image']}").status_code == 404
        assert visitor.get(f"/gradio_api/file={folder / job.request['image']}").status_code == 404
        assert visitor.get(f"/gradio_api/file={store.folder / 'jobs.sqlite'}").status_code == 404


def test_behind_https_the_cookie_is_kept_in_a_frame(gated: Starlette):
    plain = TestClient(gated).get("/").headers["set-cookie"]
    framed = TestClient(gated, headers={"x-forwarded-proto": "https"}).get("/").headers["set-cookie"]
    assert "SameSite=Lax" in plain and "HttpOnly" in plain
    assert "Partitioned" in framed and "Secure" in framed and "HttpOnly" in framed


def test_uploads_are_deleted_after_their_time_and_forgotten(gated: Starlette, store: JobStore, uploads: Path):
    mine = new_visitor(gated)
    (path,) = mine.post("/gradio_api/upload", content=b"secret").json()
    assert store.delete_uploads(uploads, 60.0) == 0
    then_s = time.time() - 120.0
    for old in (Path(path), Path(path).parent):
        os.utime(old, (then_s, then_s))
    assert store.delete_uploads(uploads, 60.0) == 1
    assert not Path(path).exists()
    assert store.uploaders("0123abcd") == set()


def a_record(request: GenerationRequest) -> GenerationRecord:
    sizes = {"width_px": 64, "height_px": 64, "num_frames": 25, "fps": 25.0}
    return GenerationRecord(request=request, checkpoint_sha256="0" * 64, inputs_sha256={}, **sizes)


def test_one_file_brought_by_two_is_had_by_both(gated: Starlette):
    mine, theirs, nobody = new_visitor(gated), new_visitor(gated), TestClient(gated)
    (path,) = mine.post("/gradio_api/upload", content=b"the same").json()
    assert nobody.get(f"/gradio_api/file={path}").status_code == 404
    nobody.post("/gradio_api/upload", content=b"the same")
    assert [client.get(f"/gradio_api/file={path}").status_code for client in (mine, nobody, theirs)] == [200, 200, 404]


def test_a_full_disk_is_said_where_it_is_met(store: JobStore, uploads: Path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no device that is always full")

    async def upload(request: Request) -> JSONResponse:
        with full.open("wb") as file:
            file.write(await request.body() * 100_000)
        return JSONResponse([])

    gate = Middleware(VisitorGate, store=store, uploads=uploads)
    app = Starlette(routes=[Route("/gradio_api/upload", upload, methods=["POST"])], middleware=[gate])
    answer = TestClient(app).post("/gradio_api/upload", content=b"picture")
    assert answer.status_code == 507 and "disk is full" in answer.json()["detail"]
