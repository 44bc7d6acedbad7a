"""`python -m trainer judge CLIPS --over LIMIT`: whose heads jerk, by a rule stated in advance, in lines of labels.

CLIPS is the review tab's list of a batch's clips (`/review/export/clips.jsonl`); what is printed goes to
`examples/label_by_rule.py`. Only clips of nano whose latents were kept can be judged.
"""

import argparse
import json
import sys
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from engine.errors import UserError
from engine.model.nano import NanoModel
from engine.pipeline import LATENTS_KEY
from engine.variants import NANO
from trainer.arguments import positive_float
from trainer.experiments.measures import head_jerk

ISSUE = "jitter"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `judge`."""
    parser.add_argument("clips", type=Path, help="what /review/export/clips.jsonl says of a batch")
    parser.add_argument(
        "--over", type=positive_float, required=True, metavar="LIMIT", help="a head jerks above this, in rad/s³"
    )


def run(args: argparse.Namespace) -> int:
    """Print a line for every clip, and how many jerk on stderr."""
    model = NanoModel.load(NANO.folder)
    judged = [(clip, _jerk(latents, model)) for clip, latents in _listed(args.clips)]
    for clip, jerk in judged:
        print(json.dumps({"clip": clip, "issue": ISSUE if jerk > args.over else None, "note": f"{jerk:.1f} rad/s³"}))
    bad = sum(jerk > args.over for _, jerk in judged)
    print(f"{bad} of {len(judged)} heads jerk by more than {args.over:g} rad/s³.", file=sys.stderr)
    return 0


def _listed(path: Path) -> list[tuple[str, Path]]:
    """Clips with their latents. Raises UserError where the list cannot be read or a clip has none."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        listed = [(str(line["clip"]), line["latents"]) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no list of clips ({error}): take /review/export/clips.jsonl.", "clips") from None
    for clip, latents in listed:
        if latents is None:
            raise UserError(f"Clip {clip[:12]} kept no latents: make the batch from a checkpoint.", "clips")
    return [(clip, Path(latents)) for clip, latents in listed]


def _jerk(latents: Path, model: NanoModel) -> float:
    try:
        return head_jerk(model.autoencoder.decode_pose(load_file(latents)[LATENTS_KEY].float())[:, :3])
    except (SafetensorError, KeyError, OSError) as error:
        raise UserError(f"The latents {latents} cannot be read ({error}): restore them.", "clips") from None
