"""The released geometry: an SFT and an NDPO step at the real widths, and the memory planner against what they take.

`python -m goals.trainer.geometry LAYERS KIND` is one measurement, in a process of its own: JSON with the bytes that it
grew by at its peak, and the losses.
"""

import copy
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from engine.sampling.tasks import image_to_video, to_video_frames
from engine.wan.transformer import EchoMimicTransformer3DModel
from goals.goal import Row
from trainer.loop.flow import FlowBatch, flow_loss, predict
from trainer.loop.memory_plan import Geometry, Plan, needed
from trainer.loop.processes import Processes
from trainer.loop.recipes import SEEN, NDPORecipe, released_soup
from trainer.loop.training import Trainee, Training
from trainer.objectives.ndpo import Loop
from trainer.subjects.released import ReleasedVelocity

LATENT_FRAMES, LATENT_SIDE = 3, 40
"""320 × 320 pixels, 1,200 tokens."""
LAYERS = (1, 2, 4)
WITHIN = 0.15
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "262144"}
"""Tensors are given back to the system when they are freed, so that what is measured is what is held."""


def batch(seed: int, negative: bool) -> FlowBatch:
    """One clip of the preview model's real shapes, of noise."""
    noise = torch.Generator().manual_seed(seed)
    x0 = torch.randn(1, 16, LATENT_FRAMES, LATENT_SIDE, LATENT_SIDE, generator=noise)
    frames = to_video_frames(LATENT_FRAMES)
    return FlowBatch(
        x0,
        torch.randn(x0.shape, generator=noise),
        torch.rand(1, generator=noise),
        {
            "known": image_to_video(x0[:, :, :1], frames),
            "text": torch.randn(1, 512, 4096, generator=noise),
            "image": torch.randn(1, 257, 1280, generator=noise),
            "audio": torch.randn(1, 2 * frames, 768, generator=noise),
            "modal_weights": torch.ones(1, 3),
            "face_mask": torch.ones(1, (LATENT_SIDE // 2) ** 2),
        },
        mask=torch.ones(1, 1, LATENT_FRAMES, LATENT_SIDE, LATENT_SIDE) if negative else None,
    )


def _resident(peak: bool) -> int:
    """Bytes of this process in memory, now or at the most."""
    line = next(
        row for row in Path("/proc/self/status").read_text().splitlines() if row[:6] == ("VmHWM:", "VmRSS:")[not peak]
    )
    return int(line.split()[1]) * 1024


def measure(layers: int, kind: str) -> dict[str, float]:
    """Two steps of `kind` (sft, ndpo): the growth at the peak of the second, and its loss."""
    torch.set_num_threads(1)
    real, negative = batch(1, False), batch(2, True)
    # Libraries that a first step loads are no part of what a model takes.
    _steps(EchoMimicTransformer3DModel(num_layers=1, num_attention_heads=1, ffn_dim=128), kind, real, negative)
    before = _resident(peak=False)
    Path("/proc/self/clear_refs").write_text("5")
    torch.manual_seed(0)
    row = _steps(EchoMimicTransformer3DModel(num_layers=layers), kind, real, negative)
    return {"growth": _resident(peak=True) - before, **row}


def _steps(model: EchoMimicTransformer3DModel, kind: str, real: FlowBatch, negative: FlowBatch) -> dict[str, float]:
    """Two steps of training; the loss of the second."""
    reference = ReleasedVelocity(copy.deepcopy(model)).requires_grad_(False) if kind == "ndpo" else None
    with tempfile.TemporaryDirectory() as folder:
        trainee = Trainee(model, model, ReleasedVelocity(model), torch.ones(()), lambda state, folder, note: None)
        training = Training(trainee, Path(folder), Processes(), weight_decay=0.01, seen=SEEN)
        loop = None if reference is None else Loop(NDPORecipe(), released_soup(), training, reference)
        loss = distance = 0.0
        for step in range(2):
            if loop is None:
                taken = flow_loss(predict(training.velocity, real), real, training.weights)
                training.step(taken, 1e-3, 1.0)
                loss = taken.item()
            else:
                row = loop.step(step, real, negative)
                loss, distance = row["loss"], row["distance"]
    return {"loss": loss, "distance": distance}


def in_a_process(layers: int, kind: str) -> dict[str, float]:
    """`measure` where nothing else was loaded before."""
    command = [sys.executable, "-m", "goals.trainer.geometry", str(layers), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | GIVES_BACK)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure_rows(folder: Path) -> list[Row]:
    """The rows; what is trained lies in `folder`."""
    rows = []
    for kind, clips, reference in (("sft", 1, "none"), ("ndpo", 2, "copy")):
        for layers in LAYERS:
            if kind == "ndpo" and layers != 2:
                continue
            answer = in_a_process(layers, kind)
            plan = Plan(
                clips=clips,
                latent_frames=LATENT_FRAMES,
                latent_height=LATENT_SIDE,
                latent_width=LATENT_SIDE,
                precision_bytes=4,
                checkpointing=False,
                reference="copy" if reference == "copy" else "none",
            )
            estimate = needed(Geometry(layers=layers), plan).total
            off = estimate / answer["growth"] - 1
            said = f"grew by {answer['growth'] / 1e9:.2f} GB, planned {estimate / 1e9:.2f} GB ({off:+.0%})"
            said += f"; loss {answer['loss']:.3f}" + (f", D/s {answer['distance']:.4f}" if kind == "ndpo" else "")
            met = abs(off) <= WITHIN and bool(np.isfinite(answer["loss"]))
            what = f"one {kind} step at the real widths, {layers} layers, fp32"
            rows.append(Row(what, f"planned within {WITHIN:.0%}", said, met))
    return rows


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2])))
