"""Label a batch by a rule instead of by looking: `python examples/label_by_rule.py ADDRESS BATCH LABELS OUT`.

ADDRESS is a running studio's, e.g. http://127.0.0.1:7860; BATCH a batch's number or name in its Review tab. LABELS, or
standard input with `-`, says what the rule found, a line of JSON each:

    {"clip": "<sha-256 of the mp4>", "issue": "jitter", "severity": 2, "span_s": [0.4, 1.2]}
    {"clip": "<another>", "issue": null}

No issue is a good clip; several lines about one clip are several issues; severity (1 to 3), span_s, region (left, top,
right, bottom as fractions of the frame) and note may be left out. Clips that no line is about are skipped. Which clips
there are says `curl 'ADDRESS/review/export/clips.jsonl?batch=NUMBER'`; with `&paths=here`, on the studio's own machine,
also where their videos and latents are.

The script presses the keys that an annotator would, each under an id of its own, so that sending one again after a lost
connection is the same as sending it once. Then it writes the batch's labels to OUT, for `python -m trainer ndpo`.
Needs only httpx, which comes with gradio_client.
"""

import argparse
import json
import sys
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx

WAIT_S, PATIENCE_S = 1.0, 60.0
MARK_FIELDS = ("severity", "span_s", "region")

Labels = dict[str, list[dict[str, Any]]]


class Refused(Exception):
    """What the studio, or this script, does not take; says why."""


class Studio:
    """The Review tab of a running studio, for one annotator and one batch."""

    def __init__(self, address: str, annotator: str, login: str | None = None) -> None:
        self._client = httpx.Client(base_url=address, timeout=PATIENCE_S, cookies={"echomimic-annotator": annotator})
        if login is not None:
            name, _, password = login.partition(":")
            self._ask("POST", "login", data={"username": name, "password": password})

    def batch(self, wanted: str) -> dict[str, Any]:
        """The batch of that number, or the newest of that name; `waiting` of its clips are still being made."""
        batches = self._ask("GET", "review/setup").json()["batches"]
        for batch in batches:
            if wanted in (str(batch["id"]), batch["title"]):
                return batch
        known = ", ".join(f"{batch['id']} ({batch['title']})" for batch in batches) or "none"
        raise Refused(f"There is no batch {wanted!r}; there are: {known}.")

    def next_clip(self, batch_id: int) -> dict[str, Any] | None:
        """The clip that the annotator sees now, or None."""
        return next(iter(self._ask("GET", f"review/queue/{batch_id}").json()["items"]), None)

    def press(self, batch_id: int, item: int, keys: list[dict[str, Any]]) -> None:
        """Press `keys` on the item, in order; `played` tells the lock that the clip was seen to its end."""
        presses = [{"client_id": uuid.uuid4().hex, "item": item, "played": True, **key} for key in keys]
        answer = self._ask("POST", f"review/keys/{batch_id}", json=presses).json()
        if answer["refused"]:
            raise Refused(f"Item {item}: {answer['refused'][0]['message']}")

    def labels(self, batch_id: int) -> str:
        """The batch's labels as the trainer reads them."""
        return self._ask("GET", "review/export/negatives.jsonl", params={"batch": batch_id, "paths": "here"}).text

    def _ask(self, method: str, path: str, **values: Any) -> httpx.Response:
        """The answer, asked for again as long as the studio is away."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self._client.request(method, path, **values)
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise Refused(f"The studio does not answer ({error}).") from error
                time.sleep(WAIT_S)
                continue
            if answer.is_success:
                return answer
            is_json = "json" in answer.headers.get("content-type", "")
            raise Refused(answer.json().get("error", answer.text) if is_json else f"{path}: {answer.status_code}")


def read_labels(lines: list[str]) -> Labels:
    """What the rule says of each clip: no entry in its list is a good one."""
    labels: Labels = {}
    told: dict[str, int] = defaultdict(int)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            clip, issue = said["clip"], said["issue"]
        except (ValueError, KeyError, TypeError):
            raise Refused(f"Line {number}: give a JSON object with clip and issue; got {line[:60]!r}.") from None
        told[clip] += 1
        issues = labels.setdefault(clip, [])
        if told[clip] > 1 and (issue is None or not issues):
            raise Refused(f"Line {number}: the clip {clip} cannot be good and have an issue.")
        if issue is not None:
            issues.append(said)
    return labels


def keys_of(issues: list[dict[str, Any]], marked: dict[str, Any]) -> list[dict[str, Any]]:
    """The keys that finish a clip with `issues`; `marked` is what an earlier, unfinished visit left on it."""
    wanted = {said["issue"] for said in issues}
    keys: list[dict[str, Any]] = [{"kind": "unmark", "issue": issue} for issue in marked if issue not in wanted]
    for said in issues:
        mark = {name: said[name] for name in MARK_FIELDS if said.get(name) is not None}
        keys.append({"kind": "mark", "issue": said["issue"], "mark": mark})
    notes = [said["note"] for said in issues if said.get("note")]
    if notes:
        keys.append({"kind": "note", "text": " ".join(notes)})
    return [*keys, {"kind": "bad" if issues else "good"}]


def label(studio: Studio, wanted: str, labels: Labels) -> tuple[int, dict[str, int]]:
    """Answer every clip of the batch, also those that are still being made. Returns its number and what was said."""
    batch = studio.batch(wanted)
    number = batch["id"]
    said = {"good": 0, "bad": 0, "skip": 0}
    while True:
        item = studio.next_clip(number)
        if item is None:
            if not batch["waiting"]:
                return number, said
            time.sleep(WAIT_S)
            batch = studio.batch(str(number))
            continue
        clip = Path(item["clips"][0]["url"]).stem
        keys = keys_of(labels[clip], item["marks"]) if clip in labels else [{"kind": "skip"}]
        studio.press(number, item["item"], keys)
        said[keys[-1]["kind"]] += 1


def main() -> int:
    """Label, export, and say how many of what. Returns 0, or 2 where the input is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("address")
    parser.add_argument("batch", help="its number or its name")
    parser.add_argument("labels", help="lines of JSON; - is standard input")
    parser.add_argument("out", type=Path, help="where the labels for the trainer go")
    parser.add_argument("--annotator", default="rule", help="under whose name (default: rule)")
    parser.add_argument(
        "--login", metavar="USER:PASSWORD", help="where the studio asks for one; the first account leads"
    )
    asked = parser.parse_args()
    try:
        text = sys.stdin.read() if asked.labels == "-" else Path(asked.labels).read_text(encoding="utf-8")
        studio = Studio(asked.address, asked.annotator, asked.login)
        number, said = label(studio, asked.batch, read_labels(text.splitlines()))
        asked.out.write_text(studio.labels(number), encoding="utf-8")
    except (Refused, OSError) as error:
        print(f"label_by_rule.py: {error}", file=sys.stderr)
        return 2
    print(f"{said['bad']} bad, {said['good']} good, {said['skip']} without a rule; {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
