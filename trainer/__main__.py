"""`python -m trainer synthesize|audio-encoder|sft|ndpo|cycle|publish|evaluate …`: the trainer.

Exit 0 done, 2 the user's input is wrong (one line on stderr), 130 stopped by Ctrl-C, 1 our fault.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from engine.contract.errors import UserError
from trainer.data.files import NO_ROOM


@dataclass(frozen=True)
class Command:
    """A sub-command, imported when it is asked for: its module has `add_arguments(parser)` and `run(args) -> code`."""

    module: str
    summary: str


COMMANDS = {
    "synthesize": Command("trainer.cli.synthesize_command", "make the synthetic speech corpus"),
    "prepare": Command("trainer.cli.prepare_command", "check real videos and encode them for a training"),
    "audio-encoder": Command("trainer.cli.audio_encoder_command", "pre-train nano's audio encoder on the corpus"),
    "sft": Command("trainer.cli.sft_command", "train a model by flow matching"),
    "ndpo": Command("trainer.cli.ndpo_command", "unlearn labelled clips by Negative-DPO, one block"),
    "judge": Command("trainer.cli.judge_command", "label candidates by a rule, for the review store"),
    "cycle": Command("trainer.cli.cycle_command", "Negative-DPO and SFT in turn, stopping for labels"),
    "personalise": Command("trainer.cli.personalise_command", "nano's motion after one person's, from a video of them"),
    "plan": Command("trainer.cli.plan_command", "which GPUs hold the training of a released model"),
    "publish": Command("trainer.cli.publish_command", "put a finished run into assets/"),
    "evaluate": Command("trainer.cli.evaluate_command", "measure finished videos"),
}
MOVED = {
    "experiment": "python -m research",
    "prove": "python -m goals trainer",
    "proof": "python -m goals nano",
    "proof-data": "python -m goals data",
}
"""What left this command line, and where it is now: beside the installed packages, in a checkout."""


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")


def main(argv: list[str]) -> int:
    """Run the command line `argv`; returns the exit code."""
    try:
        run, arguments = _parse(argv)
        return run(arguments)
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = f" for {error.filename}" if error.filename else ""
        print(
            f"error: There is no room{where} ({error.strerror}): free some space, then run the same command again; "
            "what was saved before is whole.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _parse(argv: list[str]) -> tuple[Callable[[argparse.Namespace], int], argparse.Namespace]:
    parser = _OneLineParser(prog="python -m trainer", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    if argv and argv[0] in MOVED:
        raise UserError(f"{argv[0]} is now `{MOVED[argv[0]]}`: run that, in a checkout.")
    chosen = next((word for word in argv if word in COMMANDS), None)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.summary, description=command.summary)
        if name == chosen:
            module = import_module(command.module)
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    return arguments.run, arguments


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
