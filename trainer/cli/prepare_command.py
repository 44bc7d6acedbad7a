"""`python -m trainer prepare SRC OUT`: from videos to checked, encoded shards; run it again to go on."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from engine.contract.errors import UserError
from trainer.cli.arguments import positive_float, positive_int
from trainer.prepare.pipeline import Preparation, prepare
from trainer.prepare.settings import PrepareSettings
from trainer.prepare.sources import ListKind
from trainer.prepare.workers import LocalWorkers, RayWorkers, Workers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `prepare`: every field of PrepareSettings is a flag."""
    parser.add_argument("source", metavar="SRC", type=Path, help="the folder of videos")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder of shards; a run that is there goes on")
    parser.add_argument("--list-kind", choices=get_args(ListKind), default="folder", help="what names the clips")
    parser.add_argument("--list", dest="list_path", type=Path, help="HDTF's folder HDTF_dataset, or EchoMimicV2's file")
    parser.add_argument("--captions", type=Path, help="JSON, JSON Lines or CSV: a caption for every video")
    parser.add_argument("--workers", type=positive_int, default=2, help="processes that check; default: 2")
    parser.add_argument("--encoders", type=positive_int, default=1, help="processes that make features; default: 1")
    parser.add_argument("--ray", nargs="?", const="", metavar="ADDRESS", help="work on a Ray cluster, or on a new one")
    share = "with --ray: share of a GPU that an encoder takes; default: none"
    parser.add_argument("--gpus", type=positive_float, default=0.0, help=share)
    for name, field in PrepareSettings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=field.description)
        else:
            parser.add_argument(flag, metavar="X", help=f"{field.description}; default: {_shown(field.default)}")


def run(args: argparse.Namespace) -> int:
    """Prepare, and print the yield and where it lies."""
    given = {name: getattr(args, name) for name in PrepareSettings.model_fields if getattr(args, name) is not None}
    if "luma" in given:
        given["luma"] = given["luma"].split(",")
        if len(given["luma"]) != 2:
            raise UserError(f"--luma takes two numbers, like 25,230, got {args.luma!r}.", "luma")
    try:
        settings = PrepareSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        raise UserError(f"--{name.replace('_', '-')} {reason}, got {first['input']!r}.", name) from error
    workers = _Workers.chosen(args)
    result = prepare(
        Preparation(
            args.source,
            args.out,
            settings,
            args.list_kind,
            args.list_path,
            args.captions,
            workers.stages,
            workers.features,
        )
    )
    print(result.text())
    print(args.out)
    return 0


@dataclass(frozen=True)
class _Workers:
    stages: Workers
    features: Workers

    @classmethod
    def chosen(cls, args: argparse.Namespace) -> "_Workers":
        if args.ray is None:
            return cls(LocalWorkers(args.workers), LocalWorkers(args.encoders))
        return cls(RayWorkers(args.ray), RayWorkers(args.ray, args.gpus))


def _shown(default: Any) -> str:
    return ",".join(f"{value:g}" for value in default) if isinstance(default, tuple) else str(default)
