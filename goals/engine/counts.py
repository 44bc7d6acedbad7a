"""What is counted and not timed: parity of what is kept, forwards of each preset, latents through the autoencoder."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.contract.request import build_request
from engine.contract.settings import LongVideoSettings
from engine.sampling.condition_cache import ConditionCache
from engine.sampling.denoise import Conditions, denoise
from engine.sampling.long_video import plan_windows
from engine.sampling.phase_negative import NegativeText
from engine.sampling.tasks import image_to_video, reference_slot, to_video_frames
from engine.wan.checkpoints import ReleasedTransformer, load_transformer
from engine.wan.transformer import EchoMimicTransformer3DModel
from goals.engine.jobs import PARITY
from goals.goal import Place, Row, at_most

PRESETS = (
    ("preview", 25, "exact", 75),
    ("preview", 25, "balanced", 36),
    ("preview", 25, "fast", 30),
    ("preview", 25, "draft", 24),
    ("preview", 5, "exact", 15),
    ("preview", 5, "fast", 11),
    ("flash", 8, "exact", 16),
)
"""Model, steps, speed preset and how many forwards it may cost."""
EXACT = frozenset({"exact"})
LONGEST_LATENT_FRAMES = 3751
"""Of ten minutes."""


@torch.inference_mode()
def parity(place: Place) -> list[Row]:
    """The released transformers' outputs, every condition kept and the voice heard by face tokens alone."""
    worst, cases = 0.0, 0
    kinds: tuple[ReleasedTransformer, ...] = ("preview", "flash")
    for kind in kinds:
        config = json.loads((PARITY / f"{kind}_config.json").read_text())["config"]
        sizes = {"heads": config["heads"], "audio_dim": config["audio_dim"]}
        transformer = load_transformer(PARITY / f"{kind}_weights.safetensors", kind, **sizes)
        for path in sorted(PARITY.glob(f"{kind}_case*.safetensors")):
            case, cache = load_file(path), ConditionCache()
            names = range(len(case["latents"]))
            for _ in range(2):  # once to fill, once to read
                velocity = transformer(
                    torch.cat([case["latents"], case["mask_and_masked_latents"]], dim=1),
                    case["timestep"],
                    case["text"],
                    case["clip"],
                    encoder_hidden_states_audio=case["audio"],
                    face_mask=case.get("face_mask"),
                    audio_scale=float(case.get("audio_scale", 1.0)),
                    cached=cache.rows(names, names, names),
                ).sample
                worst = max(worst, float((velocity - case["output"]).abs().max()))
            cases += 1
    what = "parity with the released transformers, every exact optimisation on: largest difference"
    return [at_most(f"{what} of {cases} cases", worst, 1e-4, ".1e")]


@contextmanager
def forwards_of(model: EchoMimicTransformer3DModel) -> Iterator[dict[str, int]]:
    """Rows through a middle block's feed-forward and through the output projection."""
    rows = {"blocks": 0, "output": 0}

    def counting(name: str) -> Any:
        def hook(_module: nn.Module, given: tuple[Tensor, ...], _output: Tensor) -> None:
            rows[name] += len(given[0])

        return hook

    middle: Any = model.blocks[len(model.blocks) // 2]
    hooks = [
        middle.ffn.register_forward_hook(counting("blocks")),
        model.proj_out.register_forward_hook(counting("output")),
    ]
    yield rows
    for hook in hooks:
        hook.remove()


def small_clip(latent_frames: int = 3, cells: int = 4) -> Conditions:
    """Random conditions for `small_transformer`."""
    random = torch.Generator().manual_seed(1)
    reference = torch.randn(1, 16, 1, cells, cells, generator=random)
    frames = to_video_frames(latent_frames)
    return Conditions(
        reference=reference,
        known=image_to_video(reference, frames),
        slot=reference_slot(reference),
        text=torch.randn(1, 9, 8, generator=random),
        negative=NegativeText(*(torch.randn(n, 8, generator=random) for n in (2, 3, 3)), 9),
        image=torch.randn(1, 4, 10, generator=random),
        audio=torch.randn(1, 2 * frames, 6, generator=random),
    )


def small_transformer(layers: int = 3, width: int = 24) -> EchoMimicTransformer3DModel:
    """Random weights that answer to every input."""
    torch.manual_seed(0)
    sizes = {"text_dim": 8, "freq_dim": 32, "ffn_dim": 2 * width, "image_dim": 10, "audio_dim": 6}
    model = EchoMimicTransformer3DModel(
        num_attention_heads=2, attention_head_dim=width // 2, num_layers=layers, **sizes
    ).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model


def forwards(place: Place) -> list[Row]:
    """Every preset's forwards, counted in a middle block; the output projection must have run at every step."""
    model, rows = small_transformer(), []
    for name, steps, speed, allowed in PRESETS:
        values = {"audio": "a.wav", "image": "a.png", "out": "o.mp4", "model": name}
        settings = build_request(values, {"sampling.steps": steps}, speed_preset=speed).settings
        with forwards_of(model) as counted:
            denoise(model, small_clip(), settings, window_latent_frames=8, seed=0, watch=lambda done, clean: None)
        exact = speed in EXACT
        met = counted["blocks"] == allowed if exact else 0 < counted["blocks"] <= allowed
        met = met and counted["output"] >= max(steps, counted["blocks"])
        rows.append(
            Row(
                f"forwards (NFE) of `{speed}`, {name}, {steps} steps",
                f"{'' if exact else '≤ '}{allowed}",
                f"{counted['blocks']}",
                met,
                by_construction=exact,
            )
        )
    return rows


def encoder(place: Place) -> list[Row]:
    """Latents that go through the video autoencoder's encoder, and what long clips compute twice."""
    from goals.engine.pixels import encoded_latents

    with tempfile.TemporaryDirectory() as folder:
        pictures, films = encoded_latents(place.examples, Path(folder))
    from engine.wan.animator import WINDOW_LATENT_FRAMES

    overlap = LongVideoSettings().overlap_latent_frames
    shares = []
    for stop in range(WINDOW_LATENT_FRAMES + 2, LONGEST_LATENT_FRAMES + 1):
        windows = plan_windows(1, stop, WINDOW_LATENT_FRAMES, overlap)
        shares.append(sum(w.stop - w.start for w in windows) / (stop - 1))
    longest = max(pictures)
    film_text = ", ".join(f"{encoded} of {latents}" for latents, encoded in films.items())
    return [
        at_most(
            "latents through the encoder, image-to-video of any length",
            max(pictures.values()),
            30,
            "d",
            more=f" (of {longest}, the longest tried)",
        ),
        Row(
            "latents through the encoder, lip-sync",
            "each once",
            film_text,
            all(encoded == latents for latents, encoded in films.items()),
        ),
        at_most(
            "latent frames computed over those of the clip, default windows, any length to 10 minutes",
            max(shares) * (1 + 1 / WINDOW_LATENT_FRAMES),
            1.17,
            ".3f",
            unit="×",
            more=f", each window's reference slot included ({max(shares):.3f}× without it)",
        ),
    ]
