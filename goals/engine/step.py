"""One denoising step at the real widths, three branches: ours against the naive build, interleaved in one run."""

import time
from typing import Any

import torch
from torch import Tensor

from engine.sampling.condition_cache import ConditionCache
from engine.wan.transformer import EchoMimicTransformer3DModel
from goals.engine.naive import NaiveModel
from goals.goal import Measure, Place, Row, at_least

LAYERS = 2
SIZES = {320: (5, 16, 16), 1470: (5, 28, 42), 6006: (7, 52, 66)}
"""Tokens of a forward → latent frames, height and width in latents."""
ROUNDS = 3
LIMIT = 1e-4
BATCHED_TOKENS = 1000
"""What the loop does on a CPU: branches share a forward below it, and go one by one above."""


def inputs(shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """A step's inputs for the branches u, t and ta."""
    frames, height, width = shape
    random = torch.Generator().manual_seed(0)

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=random)

    audio = draw(1, 2 * (4 * (frames - 1) + 1), 768)
    mask = torch.zeros(1, height // 2, width // 2)
    mask[:, height // 8 : height // 4, width // 8 : width // 4] = 1
    prompt = draw(1, 512, 4096)
    return {
        "hidden_states": draw(1, 36, frames, height, width).expand(3, -1, -1, -1, -1),
        "timestep": torch.full((3,), 700.0),
        "text": torch.cat([draw(1, 512, 4096), prompt, prompt]),
        "image": draw(1, 257, 1280).expand(3, -1, -1),
        "audio": torch.cat([torch.zeros_like(audio), torch.zeros_like(audio), audio]),
        "face_mask": mask.flatten(1).expand(3, -1),
    }


@torch.inference_mode()
def measure(tokens: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """CPU seconds of a step, the least of `rounds`, both ways, interleaved, on one thread.

    Raises AssertionError where the outputs differ by more than LIMIT, or do not answer to the voice.
    """
    torch.manual_seed(0)
    ours = EchoMimicTransformer3DModel(num_layers=LAYERS).eval()
    for name, weight in ours.named_parameters():
        if name.endswith(("to_v_audio.weight", "proj_out.weight")):
            torch.nn.init.normal_(weight, std=0.02)
    naive = NaiveModel(ours).eval()
    given = inputs(SIZES[tokens])
    cache = ConditionCache()

    def run_naive() -> Tensor:
        return torch.cat([naive({name: rows[row : row + 1] for name, rows in given.items()}) for row in range(3)])

    def run_ours() -> Tensor:
        groups = [[0, 1, 2]] if tokens < BATCHED_TOKENS else [[0], [1], [2]]
        return torch.cat([_forward(ours, given, rows, cache) for rows in groups])

    times: dict[str, list[float]] = {"naive": [], "ours": []}
    outputs: dict[str, Tensor] = {}
    for _ in range(rounds):
        for name, run in (("naive", run_naive), ("ours", run_ours)):
            started = time.process_time()
            outputs[name] = run()
            times[name].append(time.process_time() - started)
    error = float((outputs["naive"] - outputs["ours"]).abs().max())
    if error > LIMIT:
        raise AssertionError(f"the outputs differ by {error:.1e} at {tokens} tokens; no ratio")
    if float((outputs["ours"][1] - outputs["ours"][2]).abs().max()) < 100 * LIMIT:
        raise AssertionError("the branches with and without the voice are alike: nothing was compared")
    naive_s, ours_s = min(times["naive"]), min(times["ours"])
    return {"tokens": tokens, "naive_s": naive_s, "ours_s": ours_s, "ratio": naive_s / ours_s, "max_error": error}


def row(tokens: int, goal: float) -> Measure:
    """What measures the row of the proof for a step of so many tokens."""

    def measured(place: Place) -> list[Row]:
        found = measure(tokens)
        what = f"one denoise step against the naive build, real widths, {LAYERS} layers, 3 branches, {tokens:,} tokens"
        more = f" ({found['naive_s']:.2f} s → {found['ours_s']:.2f} s; outputs differ by {found['max_error']:.1e})"
        return [at_least(what, found["ratio"], goal, unit="×", more=more)]

    return measured


def _forward(
    model: EchoMimicTransformer3DModel, given: dict[str, Tensor], rows: list[int], cache: ConditionCache
) -> Tensor:
    texts, voices = ["negative", "prompt", "prompt"], ["silence", "silence", "voice"]
    sample: Tensor = model(
        given["hidden_states"][rows],
        given["timestep"][rows],
        given["text"][rows],
        given["image"][rows],
        encoder_hidden_states_audio=given["audio"][rows],
        face_mask=given["face_mask"][rows],
        cached=cache.rows([texts[row] for row in rows], ["picture"] * len(rows), [voices[row] for row in rows]),
        return_dict=False,
    )[0]
    return sample
