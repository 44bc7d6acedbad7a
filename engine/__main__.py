"""The command line: `python -m engine generate | inspect | verify | export | motion | models | doctor`.

Every settings field is a dotted flag, made from the settings model. Exit 0: done; 2: the user's input is wrong, said in
one line on stderr; 1: anything else; 130: stopped by Ctrl-C; of `verify` also 3 (changed) and 4 (unmarked). Torch is
imported only once there is something to do.
"""

import argparse
import difflib
import hashlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from platformdirs import user_cache_path
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from tqdm import tqdm

from engine.contract.errors import UserError
from engine.contract.export import Export, checked_export
from engine.contract.motion_edit import MotionEdit
from engine.contract.presets import GUIDANCE_PRESETS, SPEED_PRESETS
from engine.contract.progress import Progress
from engine.contract.request import UNCHOSEN_SEEDS, GenerationRequest, build_request, flatten
from engine.contract.settings import Settings
from engine.contract.variants import NANO, VARIANTS, find_variant

MOST_SETTINGS_BYTES = 1_000_000
REQUEST_FLAGS = [name for name in GenerationRequest.model_fields if not name.startswith(("settings", "motion"))]


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaints are one line, not a page of usage."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but that a flag may be written with _ where it has -, and a slip is answered with the flag
        that was meant."""
        given = [_with_hyphens(word) for word in (sys.argv[1:] if args is None else args)]
        known, left = self.parse_known_args(given, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}{self._meant(left)}")
        return known

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise UserError(f"{message}; see {self.prog} --help.")

    def _meant(self, left: Sequence[str]) -> str:
        """The flag nearest to the first one that nobody knows."""
        commands = [action.choices for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        parsers = [self, *(parser for choices in commands for parser in choices.values())]
        flags = {flag for parser in parsers for flag in parser._option_string_actions}
        wrong = next((word.partition("=")[0] for word in left if word.startswith("-")), None)
        near = difflib.get_close_matches(wrong, flags, 1) if wrong else []
        return f" (did you mean {near[0]}?)" if near else ""


def _with_hyphens(word: str) -> str:
    """`--long_video.mode=off` as `--long-video.mode=off`; what is no flag stays."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def settings_fields(model: type[BaseModel] = Settings, prefix: str = "") -> dict[str, FieldInfo]:
    """Every settings field by its dotted name, e.g. `guidance.audio`."""
    fields: dict[str, FieldInfo] = {}
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            fields |= settings_fields(info.annotation, f"{prefix}{name}.")
        else:
            fields[prefix + name] = info
    return fields


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = OneLineParser(prog="python -m engine", description="Make a portrait speak.", allow_abbrev=False)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="{generate,inspect,verify,export,motion,models,doctor}"
    )
    generate = commands.add_parser("generate", help="make a video", allow_abbrev=False)
    for name in REQUEST_FLAGS:
        info = GenerationRequest.model_fields[name]
        flag = f"--{name.replace('_', '-')}"
        generate.add_argument(flag, help=_help(info), required=info.is_required(), metavar=name.upper())
    generate.add_argument("--settings", metavar="FILE.json", help="Settings, nested as inspect prints them.")
    generate.add_argument("--keep-latents", metavar="FILE", help="Keep the final latents here, for --redo-latents.")
    generate.add_argument("--guidance-preset", metavar="NAME", help=f"{', '.join(GUIDANCE_PRESETS)}.")
    generate.add_argument("--speed", metavar="NAME", help=f"{', '.join(SPEED_PRESETS)}.")
    generate.add_argument("--steps", dest="sampling.steps", metavar="N", help="Short for --sampling.steps.")
    amounts = generate.add_argument_group("motion of nano's pictures, as it is drawn (per cent of what the clip does)")
    for name, info in MotionEdit.model_fields.items():
        flag = f"--motion.{name.replace('_', '-')}"
        amounts.add_argument(flag, dest=f"motion.{name}", metavar="VALUE", help=_help(info))
    group = generate.add_argument_group("settings (they beat --settings and presets; the defaults are nano's)")
    defaults = flatten(NANO.default_settings.model_dump())
    for name, info in settings_fields().items():
        # A switch may be given without a value.
        switch: dict[str, Any] = {"nargs": "?", "const": "true"} if info.annotation is bool else {}
        group.add_argument(
            f"--{name.replace('_', '-')}", dest=name, help=_help(info, defaults[name]), metavar="VALUE", **switch
        )
    inspect = commands.add_parser("inspect", help="print how a video was made", allow_abbrev=False)
    inspect.add_argument("video", type=Path)
    marks = commands.add_parser(
        "verify",
        help="say whether a video is marked as synthetic, and whether it was changed",
        description="Exit code 0: signed and whole; 3: made here, but the manifest is broken or gone; 4: no mark of "
        "ours is found; 2: the file cannot be read.",
        allow_abbrev=False,
    )
    marks.add_argument("video", type=Path)
    models = commands.add_parser("models", help="list, download or verify the models", allow_abbrev=False)
    deeds = models.add_subparsers(dest="deed", metavar="{list,download,verify}")
    deeds.add_parser("list", help="list the models (the default)", allow_abbrev=False)
    download = deeds.add_parser("download", help="fetch a released model, or the rest of it", allow_abbrev=False)
    download.add_argument("model", help="preview or flash")
    download.add_argument("--to", type=Path, metavar="FOLDER", help="Where to (default: where it is looked for).")
    verify = deeds.add_parser("verify", help="check a model's files against their checksums", allow_abbrev=False)
    verify.add_argument("model", help="preview, flash, or a folder that a model was downloaded to")
    export = commands.add_parser("export", help="crop, caption and level a finished video", allow_abbrev=False)
    export.add_argument("video", type=Path)
    export.add_argument("--out", type=Path, required=True, help="The .mp4 or .gif to write.")
    for name, info in Export.model_fields.items():
        export.add_argument(f"--{name.replace('_', '-')}", dest=name, metavar="VALUE", help=_help(info, info.default))
    motion = commands.add_parser("motion", help="write a clip's motion as ARKit blend shapes", allow_abbrev=False)
    motion.add_argument("clip", type=Path)
    motion.add_argument(
        "--out", type=Path, required=True, help="The .csv (Live Link Face's columns) or .json to write."
    )
    commands.add_parser("doctor", help="say what this machine has and lacks", allow_abbrev=False)
    return parser


SEED_FILE = "seed"
SHARED_SEED = 0
"""Of several processes that share a clip and were given none: what one draws, the others do not know."""


def _help(info: FieldInfo, default: Any = PydanticUndefined) -> str:
    if default is PydanticUndefined:
        default = info.default
    text = ". ".join(part.rstrip(".") for part in (info.title, info.description) if part)
    shown = "" if default is PydanticUndefined else f" (default: {default!r})"
    return f"{text}.{shown}".replace("%", "%%")


def parse_request(arguments: argparse.Namespace) -> GenerationRequest:
    """The request of `generate`: flags beat the settings file, which beats presets, which beat the model's defaults."""
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    values = {name: given[name] for name in REQUEST_FLAGS if name in given}
    amounts = {name: given[f"motion.{name}"] for name in MotionEdit.model_fields if f"motion.{name}" in given}
    values |= {"motion": amounts} if amounts else {}
    if "settings" in given:
        values["settings"] = _read_settings(Path(given["settings"]))
    return build_request(
        values,
        {name: given[name] for name in settings_fields() if name in given},
        guidance_preset=given.get("guidance_preset"),
        speed_preset=given.get("speed"),
    )


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"The settings {path} are a folder or a device; give a JSON file.", "settings")
        if path.is_file() and path.stat().st_size > MOST_SETTINGS_BYTES:
            raise UserError(
                f"The settings file {path} has {path.stat().st_size} bytes, more than {MOST_SETTINGS_BYTES}: it is no "
                "settings file.",
                "settings",
            )
        settings = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise UserError(f"The settings file {path} is nested too deep; settings have two levels.", "settings") from None
    except OSError as error:
        raise UserError(f"The settings file {path} cannot be read: {error.strerror}.", "settings") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"The settings file {path} is not JSON: {error}.", "settings") from None
    if not isinstance(settings, dict):
        raise UserError(f"The settings file {path} must hold an object such as {{'guidance': …}}.", "settings")
    return settings


def generate(arguments: argparse.Namespace) -> None:
    """Make one video, with a progress bar where somebody watches."""
    request = parse_request(arguments)
    kept = Path(arguments.keep_latents) if arguments.keep_latents else None
    if kept is not None and kept.is_dir():
        raise UserError(f"{kept} is a folder; give the name of a file for the latents.", "keep_latents")
    if kept is not None and not kept.parent.is_dir():
        raise UserError(f"The folder {kept.parent} does not exist; create it or choose another.", "keep_latents")
    from engine.session import Session

    resumed = _resume_folder(request)
    if arguments.seed in UNCHOSEN_SEEDS:
        request = request.model_copy(update={"seed": _drawn_seed(resumed, request.seed)})
    told: set[str] = set()
    # Of several processes that share a clip (`torchrun`), the first speaks and writes.
    is_first = os.environ.get("RANK", "0") == "0"
    bar_format = "{desc:<17}{bar:30} {percentage:3.0f} %{postfix}"
    with (
        tempfile.TemporaryDirectory() as aside,
        tqdm(total=1.0, bar_format=bar_format, file=sys.stderr, disable=None if is_first else True, leave=False) as bar,
    ):

        def show(progress: Progress) -> None:
            if progress.note and is_first:
                told.add(progress.note)
                bar.write(f"Note: {progress.note}", file=sys.stderr)
            counted = f" {progress.done}/{progress.total}" if progress.total > 1 else ""
            bar.set_description_str(progress.stage + counted, refresh=False)
            if progress.seconds_left is not None:
                bar.set_postfix_str(f"{progress.seconds_left:.0f} s left", refresh=False)
            bar.update(progress.fraction - bar.n)

        asked = request if is_first else request.model_copy(update={"out": Path(aside, request.out.name)})
        try:
            record = Session().generate(asked, show, keep_latents=kept if is_first else None, resume_folder=resumed)
        finally:
            _forget_seed(resumed)
    if not is_first:
        return
    for notice in record.notices:
        if notice not in told:
            print(f"Note: {notice}", file=sys.stderr)
    length_s, took_s = record.num_frames / record.fps, sum(record.seconds.values())
    size = f"{record.width_px}x{record.height_px} px"
    print(f"{request.out}: {length_s:.2f} s of {size}, seed {request.seed}, made in {took_s:.1f} s")


def _drawn_seed(folder: Path | None, seed: int) -> int:
    """`seed`, or the one that the same command drew before it was killed; processes that share a clip share a seed."""
    if folder is None:
        return SHARED_SEED
    kept = folder / SEED_FILE
    with suppress(OSError, ValueError):
        return int(kept.read_text())
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(str(seed))
    return seed


def _forget_seed(folder: Path | None) -> None:
    """The drawn seed goes with the clip's state: one that is not waiting to go on needs none."""
    if folder is None:
        return
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [SEED_FILE]:
            (folder / SEED_FILE).unlink()
            folder.rmdir()


def _resume_folder(request: GenerationRequest) -> Path | None:
    """Where a long clip's state is kept, by the name of its video; processes that share a clip keep none."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        return None
    name = hashlib.sha256(os.path.abspath(request.out).encode()).hexdigest()[:16]
    return user_cache_path("echomimic-studio", appauthor=False) / "unfinished" / name


def inspect(arguments: argparse.Namespace) -> None:
    """Print the record that a video carries, as JSON."""
    from engine.contract.records import read_record

    print(read_record(arguments.video).model_dump_json(indent=2))


def verify(arguments: argparse.Namespace) -> int:
    """Print what marks a video carries; returns the exit code that says so too."""
    from engine.media.marking.verify import verify as verified

    verdict = verified(arguments.video)
    print(*verdict.lines(), sep="\n")
    return verdict.code


def export(arguments: argparse.Namespace) -> None:
    """Write a finished video as it is taken away."""
    given = {name: value for name in Export.model_fields if (value := getattr(arguments, name)) is not None}
    suffix = arguments.out.suffix.lower().removeprefix(".")
    wanted = checked_export({"format": suffix} | given)
    from engine.media.export import export as written
    from engine.media.video import check_writable

    check_writable(arguments.out.with_suffix(".mp4"))
    print(*written(arguments.video, arguments.out, wanted), sep="\n")


def models(arguments: argparse.Namespace) -> None:
    """List the models and whether they are installed; download one; or verify one."""
    match arguments.deed:
        case "download":
            from engine.wan.downloads import download

            variant = find_variant(arguments.model)
            folder = arguments.to or variant.folder
            download(variant, folder)
            print(f"{variant.name} is whole, in {folder}")
        case "verify":
            from engine.wan.downloads import verify

            variant = find_variant(arguments.model)
            if faults := verify(variant.folder):
                more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
                again = f"python -m engine models download {variant.name} --to {variant.folder}"
                raise UserError(f"{variant.folder}: {faults[0]}{more}; run {again}.", "model")
            print(f"{variant.name} is whole, in {variant.folder}")
        case _:
            for variant in VARIANTS.values():
                state = "installed" if variant.is_installed else f"missing from {variant.folder}"
                print(f"{variant.name:10} {variant.title} [{', '.join(variant.tasks)}] {state}")


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    # A polite kill is a Ctrl-C: the job unwinds and removes what it had begun to write.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        arguments = make_parser().parse_args(argv)
        match arguments.command:
            case "generate":
                generate(arguments)
            case "inspect":
                inspect(arguments)
            case "verify":
                return verify(arguments)
            case "models":
                models(arguments)
            case "export":
                export(arguments)
            case "motion":
                from engine.media.arkit import write_motion

                print(f"{arguments.out}: {write_motion(arguments.clip, arguments.out)} frames")
            case "doctor":
                from engine.doctor import examine

                return examine()
    except UserError as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"error: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; no file was written.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
