"""Labels and kill -9: a script labels five clips a second while its server is killed at random moments.

What the server acknowledged must be there afterwards, once. The script does what the page does: it keeps what was not
acknowledged and sends it again under the same id.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from sqlalchemy import func, insert, select

from studio.review.database import Database
from studio.review.issues import read_issues
from studio.review.rows import AnswerRow, ClipRow, EventRow, ItemRow
from studio.review.store import ReviewStore
from tests.studio.review.small_clips import small_clip

ROOT = Path(__file__).parents[2]
LABELS_PER_S = 5.0
UNDO_SHARE = 0.1
START_S = 60.0


@dataclass
class Outcome:
    """What was found after the last restart."""

    kills: int
    labels: int
    acknowledged: int
    lost: int
    doubled: int
    answers_off: int


@dataclass
class Labeller:
    """Labels one clip after the other; `unsent` is what is not acknowledged yet."""

    address: str
    batch: int
    chance: random.Random
    unsent: list[dict[str, Any]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    pressed: list[str] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    labels: int = 0
    client: httpx.Client = field(default_factory=httpx.Client)
    answered: threading.Event = field(default_factory=threading.Event)

    def label(self) -> None:
        """Say something about the clip that is shown, and send it."""
        if not self.unsent and self.items:
            item = self.items[0]["item"]
            if self.chance.random() < UNDO_SHARE:
                self._press(item, "undo")
            elif self.chance.random() < 0.5 and not self.items[0]["marks"]:
                self._press(item, "good")
            else:
                self._press(item, "mark", issue=self.chance.choice(["jitter", "blur", "hands"]))
                self._press(item, "bad")
            self.labels += 1
        self.send()

    def send(self) -> None:
        """Send what is unsent; while the server is away, it stays so."""
        try:
            answer = self.client.post(f"{self.address}/review/keys/{self.batch}", json=self.unsent, timeout=5)
        except httpx.TransportError:
            return
        said = answer.raise_for_status().json()
        self.answered.set()
        self.acknowledged += said["kept"]
        settled = {*said["kept"], *(each["client_id"] for each in said["refused"])}
        self.unsent = [press for press in self.unsent if press["client_id"] not in settled]
        self.items = said["items"]

    def _press(self, item: int, kind: str, **values: Any) -> None:
        press = {"client_id": uuid.uuid4().hex, "item": item, "kind": kind, "played": True, **values}
        self.pressed.append(press["client_id"])
        self.unsent.append(press)


def label_through_kills(url: str, folder: Path, kills: int, clips: int = 3000, seed: int = 0) -> Outcome:
    """Label while the server is killed `kills` times, then look into the store."""
    chance = random.Random(seed)
    store = ReviewStore(Database(url), read_issues())
    batch = store.add_batch("Kills", "lead").id
    made = [small_clip(number) for number in range(clips)]
    with store.database.writing() as session:
        session.execute(insert(ClipRow), [clip.model_dump() | {"created_s": time.time()} for clip in made])
    store.add_items(batch, [(clip.id, None) for clip in made])
    port = free_port()
    labeller = Labeller(f"http://127.0.0.1:{port}", batch, random.Random(seed + 1))
    stop = threading.Event()
    thread = threading.Thread(target=_at_a_pace, args=(labeller, stop))
    with Server(folder, port, url) as server:
        thread.start()
        for _ in range(kills):
            labeller.answered.clear()
            labeller.answered.wait(START_S)
            time.sleep(chance.uniform(0.0, 1.2))
            server.kill()
        stop.set()
        thread.join()
        while labeller.unsent:
            labeller.send()
    outcome = _look(store, labeller, kills)
    store.database.close()
    return outcome


def _at_a_pace(labeller: Labeller, stop: threading.Event) -> None:
    while not stop.wait(1 / LABELS_PER_S):
        labeller.label()


def _look(store: ReviewStore, labeller: Labeller, kills: int) -> Outcome:
    with store.database.reading() as session:
        kept = list(session.scalars(select(EventRow.client_id).where(EventRow.batch_id == labeller.batch)))
        ends = select(EventRow.number, EventRow.item_id).where(EventRow.kind.in_(["good", "bad"]))
        undone = set(session.scalars(select(EventRow.undoes).where(EventRow.undoes.is_not(None))))
        effective = [item for number, item in session.execute(ends) if number not in undone]
        answered = select(AnswerRow.item_id).where(AnswerRow.verdict != "")
        answers = set(session.scalars(answered))
        counted = session.scalar(select(func.sum(ItemRow.answers)).where(ItemRow.batch_id == labeller.batch)) or 0
    doubled = len(kept) - len(set(kept)) + len(effective) - len(set(effective))
    return Outcome(
        kills=kills,
        labels=labeller.labels,
        acknowledged=len(labeller.acknowledged),
        lost=len(set(labeller.acknowledged) - set(kept)),
        doubled=doubled,
        answers_off=len(answers ^ set(effective)) + abs(counted - len(effective)),
    )


class Server:
    """The review tab's routes in a process that comes back when it is killed."""

    def __init__(self, folder: Path, port: int, url: str) -> None:
        command = [sys.executable, "-m", "tests.studio.review.small_server", str(folder), str(port), url]
        self._supervisor = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self._port = port
        self.pid = self._next_pid()

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return self
            time.sleep(0.02)
        raise AssertionError(f"no server in {START_S} s")

    def __exit__(self, *_: object) -> None:
        self._supervisor.kill()
        self._supervisor.wait()
        os.kill(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill -9; the next one starts."""
        os.kill(self.pid, signal.SIGKILL)
        self.pid = self._next_pid()

    def _next_pid(self) -> int:
        assert self._supervisor.stdout is not None
        return int(self._supervisor.stdout.readline())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
