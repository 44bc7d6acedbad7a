"""`make bench`: what the engine costs, as ratios measured side by side in one run: JSON, a table and a plot.

Times are of the processor, on one thread, the least of three interleaved rounds; memory is a fresh process's highest.
Parts can be left out, since a step at the largest size takes minutes.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from engine.contract.request import build_request
from engine.contract.settings import Settings
from engine.contract.variants import FPS
from engine.sampling.denoise import denoise
from engine.wan.transformer import EchoMimicTransformer3DModel
from goals.engine import step
from goals.engine.counts import forwards_of, small_clip, small_transformer
from goals.engine.jobs import run_apart
from goals.goal import table

CACHES = ("off", "magcache", "teacache", "taylorseer", "first_block")
CACHE_STEPS = 25
MEMORY_S = (4.0, 16.0, 64.0)
ROUNDS = 3
AXES: dict[str, tuple[int, ...]] = {
    "latent frames": (5, 9, 17, 33),
    "latent side": (16, 24, 32, 48),
    "steps": (2, 4, 8, 16),
}
BASE = {"latent frames": 5, "latent side": 16, "steps": 2}
WIDTH, LAYERS = 192, 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    examples = Path(os.environ.get("ECHOMIMIC_EXAMPLES", "../shared/examples"))
    parser.add_argument("--examples", type=Path, default=examples, help="folder of portraits and speech")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results/bench.md"), help="the table; JSON and plot lie beside it"
    )
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), metavar="PART", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--tokens", nargs="+", type=int, choices=tuple(step.SIZES), default=list(step.SIZES))


def run(args: argparse.Namespace) -> None:
    """Measure the parts, write them, and print the table."""
    file = args.out.with_suffix(".json")
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    for name in args.only or PARTS:
        print(f"{name} …", flush=True)
        found[name] = PARTS[name](args)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, indent=1) + "\n")
    if "scaling" in found:
        plot(found["scaling"], args.out.with_suffix(".png"))
    args.out.write_text(page(found, args.out.with_suffix(".png").name))
    print(args.out.read_text())


def step_ratios(args: argparse.Namespace) -> list[dict[str, Any]]:
    """One denoise step of the real widths against the naive build."""
    return [step.measure(tokens) for tokens in args.tokens]


def caches(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A clip of 25 steps with each step cache: forwards, time against none, and how far the result is from it."""
    model, clip = small_transformer(LAYERS, WIDTH), small_clip(5, 16)
    outputs: dict[str, torch.Tensor] = {}
    counted: dict[str, int] = {}

    def make(kind: str) -> Callable[[], None]:
        def once() -> None:
            with forwards_of(model) as rows:
                outputs[kind] = denoise(
                    model, clip, _settings(CACHE_STEPS, kind), window_latent_frames=8, seed=0, watch=lambda *_: None
                )
            counted[kind] = rows["blocks"]

        return once

    times = interleaved({kind: make(kind) for kind in CACHES})
    whole = outputs["off"]
    return [
        {
            "cache": kind,
            "forwards": counted[kind],
            "cpu_s": times[kind],
            "faster": times["off"] / times[kind],
            "relative_difference": float((outputs[kind] - whole).norm() / whole.norm()),
        }
        for kind in CACHES
    ]


def memory(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Nano at 640×1138: highest memory, real-time ratio and where the time goes."""
    rows = []
    for seconds in MEMORY_S:
        cost = run_apart("nano", seconds, args.examples)
        length_s = cost.frames / FPS
        rows.append(
            {
                "seconds": length_s,
                "peak_mib": cost.peak_bytes / 2**20,
                "cpu_over_length": cost.cpu_s / length_s,
                "wall_over_length": cost.wall_s / length_s,
                "stages_s": cost.seconds,
            }
        )
    return rows


def scaling(args: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Processor seconds of a clip against its frames, pixels and steps, each alone, the others at BASE."""
    model = small_transformer(LAYERS, WIDTH)
    measured: dict[str, list[dict[str, float]]] = {}
    for axis, values in AXES.items():
        jobs = {str(value): _clip_of(model, BASE | {axis: value}) for value in values}
        times = interleaved(jobs)
        measured[axis] = [{"value": value, "cpu_s": times[str(value)]} for value in values]
    return measured


EXPLANATION = """
Times are of the processor, on one thread, the least of three rounds in which what is compared takes turns; no ratio is
given where outputs that must be equal differ. Memory is the highest of a fresh process.
""".strip()

PARTS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "step": step_ratios,
    "caches": caches,
    "memory": memory,
    "scaling": scaling,
}


def interleaved(jobs: dict[str, Callable[[], None]], rounds: int = ROUNDS) -> dict[str, float]:
    """The least processor time of each job over `rounds` in which they take turns."""
    least = dict.fromkeys(jobs, float("inf"))
    for _ in range(rounds):
        for name, job in jobs.items():
            started = time.process_time()
            job()
            least[name] = min(least[name], time.process_time() - started)
    return least


def _settings(steps: int, cache: str = "off") -> Settings:
    values = {"audio": "a.wav", "image": "a.png", "out": "o.mp4", "model": "preview"}
    return build_request(values, {"sampling.steps": steps, "cache.kind": cache}).settings


def _clip_of(model: EchoMimicTransformer3DModel, at: dict[str, int]) -> Callable[[], None]:
    clip, settings = small_clip(at["latent frames"], at["latent side"]), _settings(at["steps"])

    def once() -> None:
        denoise(model, clip, settings, window_latent_frames=64, seed=0, watch=lambda *_: None)

    return once


def plot(measured: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Cost against frames, pixels and steps, both axes logarithmic, with a line of proportion."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for axes, (axis, points) in zip(figure.subplots(1, len(measured)), measured.items(), strict=True):
        values = [point["value"] ** (2 if axis == "latent side" else 1) for point in points]
        seconds = [point["cpu_s"] for point in points]
        axes.loglog(values, seconds, "o-", label="measured")
        axes.loglog(values, [seconds[0] * value / values[0] for value in values], ":", label="in proportion")
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.xaxis.minorticks_off()
        axes.set(xlabel="latent pixels" if axis == "latent side" else axis, ylabel="processor s")
        axes.legend()
    figure.savefig(path, dpi=110)


def page(found: dict[str, Any], plot_name: str) -> str:
    """The tables."""
    parts = ["# Benchmarks", f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}.", EXPLANATION]
    if "step" in found:
        parts += [
            f"One denoise step, real widths, {step.LAYERS} layers, 3 branches, against stock blocks with naive audio:",
            _numbers(found["step"], ("tokens", "naive_s", "ours_s", "ratio", "max_error")),
        ]
    if "caches" in found:
        parts += [
            f"{CACHE_STEPS} steps with each step cache, {LAYERS} layers of random weights, width {WIDTH}. Caches that "
            "judge by what changes may find nothing to skip in such weights, and how far a result strays with them "
            "says nothing about a trained model's picture:",
            _numbers(found["caches"], ("cache", "forwards", "cpu_s", "faster", "relative_difference")),
        ]
    if "memory" in found:
        lines = [
            row | {"where the time goes": ", ".join(f"{k} {v:.1f} s" for k, v in row["stages_s"].items() if v >= 0.1)}
            for row in found["memory"]
        ]
        names = ("seconds", "peak_mib", "cpu_over_length", "wall_over_length", "where the time goes")
        parts += ["Nano at 640×1138, a fresh process for each length:", _numbers(lines, names)]
    if "scaling" in found:
        parts += [f"![Cost against frames, pixels and steps]({plot_name})"]
    return "\n\n".join(parts) + "\n"


def _numbers(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    def shown(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    return table([name.replace("_", " ") for name in names], [[shown(row[name]) for name in names] for row in rows])


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = argparse.ArgumentParser(prog="python -m goals.engine.bench", description=__doc__.split("\n")[0])
    add_arguments(asked)
    run(asked.parse_args())
