"""`make proof-engine`: measure every goal of the whole engine, or some by name, and write the table.

Numbers are reported as they come; a goal that is missed says "short". What was measured is kept beside the videos, so
that one row measured again brings the page up to date.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import clips, counts, memory, pictures, step
from benchmarks.rows import Measure, Place, Row, table
from engine.contract.errors import UserError

ROWS: dict[str, Measure] = {
    "parity": counts.parity,
    "step-320": step.row(320, 1.3),
    "step-1470": step.row(1470, 1.08),
    "step-6006": step.row(6006, 1.05),
    "forwards": counts.forwards,
    "encoder": counts.encoder,
    "memory-pixels": memory.pixels,
    "memory-nano": memory.nano,
    "seams": clips.seams,
    "drift": pictures.drift,
    "lip-sync": clips.lip_sync,
    "first-last": clips.first_last,
    "half-body": clips.half_body,
    "face-box": pictures.face_box,
}
"""What is measured, by the name that `--only` takes, in the order of the page."""
KEPT_FILE = "proof-engine.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `proof` besides the examples."""
    parser.add_argument("--out", type=Path, default=Path("docs/proof-engine.md"), help="the table, as Markdown")
    parser.add_argument("--videos", type=Path, default=Path("out/engine"), help="folder of videos and contact sheets")
    parser.add_argument("--only", nargs="+", choices=tuple(ROWS), metavar="ROW", help=f"some of {', '.join(ROWS)}")


def run(args: argparse.Namespace) -> None:
    """Measure, keep, and write the page."""
    if not any(args.examples.glob("*.jpg")):
        raise UserError(
            f"There are no portraits in {args.examples}; give --examples or ECHOMIMIC_EXAMPLES.", "examples"
        )
    for folder in (args.videos, args.out.parent):
        folder.mkdir(parents=True, exist_ok=True)
    place = Place(args.examples.resolve(), args.videos.resolve())
    kept = _read(args.videos / KEPT_FILE)
    for name in args.only or ROWS:
        print(f"{name} …", flush=True)
        kept[name] = _measured(name, ROWS[name], place)
        for row in kept[name]["rows"]:
            print(f"  {row['what']}: {row['measured']} ({row['goal']}){'' if row['met'] else ' SHORT'}", flush=True)
        (args.videos / KEPT_FILE).write_text(json.dumps(kept, indent=1) + "\n")
    args.out.write_text(page(kept, datetime.now(UTC)))
    print(f"Written to {args.out}.")


def _measured(name: str, measure: Callable[[Place], list[Row]], place: Place) -> dict:
    cpu_s, wall_s = _cpu_s(), time.perf_counter()
    try:
        rows = measure(place)
    except Exception as error:  # a crash is one of the outcomes that are told
        rows = [Row(name, "measured", f"failed: {type(error).__name__}: {error}"[:300], False)]
    return {
        "rows": [asdict(row) for row in rows],
        "cpu_s": round(_cpu_s() - cpu_s, 1),
        "wall_s": round(time.perf_counter() - wall_s, 1),
        "made_utc": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
    }


def _cpu_s() -> float:
    """Processor time of this process and of those it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def page(kept: dict[str, dict], made_utc: datetime) -> str:
    """The whole page, from what was measured by name."""
    lines, short, total = [], 0, 0
    for name in ROWS:
        for row in kept.get(name, {"rows": []})["rows"]:
            lines.append([row["what"], row["goal"], row["measured"], "met" if row["met"] else "**short**", f"`{name}`"])
            short += not row["met"]
            total += 1
    missing = [name for name in ROWS if name not in kept]
    verdict = "Every goal is met." if not short and not missing else f"{short} of {total} goals are short."
    if missing:
        verdict += f" Not measured: {', '.join(missing)}."
    costs = [
        [f"`{name}`", f"{kept[name]['cpu_s']:g}", f"{kept[name]['wall_s']:g}", kept[name]["made_utc"]]
        for name in ROWS
        if name in kept
    ]
    parts = [
        "# Proof of the engine",
        f"Written by `make proof-engine` on {made_utc:%Y-%m-%d}, {os.cpu_count()} cores. {verdict}",
        table(("", "goal", "measured", "", "row"), lines),
        EXPLANATION,
        "What it took, one row again with `python -m benchmarks proof --only ROW`:",
        table(("row", "processor s", "wall s", "measured, UTC"), costs),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _read(path: Path) -> dict[str, dict]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


EXPLANATION = """
How to read it. A denoise step is three guidance branches through two layers of the real widths (1536, FFN 8960, 12
heads), ours against stock diffusers Wan blocks with the audio branch added the obvious way, interleaved in one run on
one thread, the least processor time of three rounds; no ratio is given where the outputs differ by more than 1e-4.
Forwards are rows through a middle block, counted by hooks. Memory is the highest of a fresh process for each length,
from files to a finished file; freed blocks of 256 KiB and more go back to the system at once, so that it is what the
job holds. A landmark jump at a seam is the mean distance of the 468 landmarks from the left
window's last frame to the right window's first, in the middle of their overlap; blended windows share one motion,
windows denoised apart have one each. `proxy/mesh_lip_r` is explained in [proof.md](proof.md). Frames are compared with
the given pictures behind H.264. Face boxes are judged by a map made from the other five.
"""
