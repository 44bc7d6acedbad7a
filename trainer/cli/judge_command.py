"""`python -m trainer judge CLIPS --issue ISSUE --over LIMIT`: clips judged by a rule stated in advance, as labels.

CLIPS is the review tab's list of a batch's clips (`/review/export/clips.jsonl`); what is printed goes to
`examples/label_by_rule.py`. Only clips of a nano whose latents were kept can be judged, by the very model that made
them: latents are in its units.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from engine.contract.errors import UserError
from engine.contract.request import Box
from engine.nano.model import NanoModel
from engine.pipeline import LATENTS_KEY
from trainer.cli.arguments import nano_folder, positive_float
from trainer.objectives.judge import RULES, Judgement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `judge`."""
    parser.add_argument("clips", type=Path, help="what /review/export/clips.jsonl says of a batch")
    parser.add_argument("--model", default="nano", help="that made the clips: nano, or a folder; default: nano")
    parser.add_argument("--issue", choices=sorted(RULES), required=True)
    parser.add_argument(
        "--over",
        type=positive_float,
        required=True,
        metavar="LIMIT",
        help="what a clip must exceed: " + ", ".join(f"{rule.unit} for {issue}" for issue, rule in RULES.items()),
    )


def run(args: argparse.Namespace) -> int:
    """Print a line for every clip, and on stderr how many are bad."""
    model, rule = NanoModel.load(nano_folder(args.model, "judge")), RULES[args.issue]
    judged = [(clip, _measured(rule, clip.latents, model)) for clip in _listed(args.clips, model, args.model)]
    for clip, found in judged:
        said = {"issue": args.issue, "region": rule.region(clip.face_box)} if found > args.over else {"issue": None}
        print(json.dumps({"clip": clip.id, "note": f"{found:.3g} {rule.unit}"} | said))
    bad = sum(found > args.over for _, found in judged)
    print(f"{bad} of {len(judged)} clips are above {args.over:g} {rule.unit}.", file=sys.stderr)
    return 0


@dataclass(frozen=True)
class _Clip:
    id: str
    latents: Path
    face_box: Box


def _listed(path: Path, model: NanoModel, name: str) -> list[_Clip]:
    """The clips. Raises UserError where the list cannot be read, or one has no latents, no face, or another maker."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        listed = [(str(line["clip"]), line["latents"], line["record"]) for line in lines]
        makers = [record["checkpoint_sha256"] for _, _, record in listed]
        boxes = [record["face_box"] for _, _, record in listed]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no list of clips ({error}): take /review/export/clips.jsonl.", "clips") from None
    found = []
    for (clip, latents, _), maker, box in zip(listed, makers, boxes, strict=True):
        if maker != model.checkpoint_sha256:
            raise UserError(
                f"Clip {clip[:12]} was made by another checkpoint ({maker[:12]}) than {name} "
                f"({model.checkpoint_sha256[:12]}): give its folder with --model.",
                "model",
            )
        if latents is None or box is None:
            raise UserError(f"Clip {clip[:12]} kept no latents, or has no face: make the batch with nano.", "clips")
        found.append(_Clip(clip, Path(latents), box))
    return found


def _measured(rule: Judgement, latents: Path, model: NanoModel) -> float:
    try:
        return rule.measure(model.autoencoder, load_file(latents)[LATENTS_KEY].float())
    except (SafetensorError, KeyError, OSError) as error:
        raise UserError(f"The latents {latents} cannot be read ({error}): restore them.", "clips") from None
