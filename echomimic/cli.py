"""The command `echomimic`: the page, the engine and the trainer behind one name."""

import sys
from collections.abc import Callable, Sequence

ENGINE = ("generate", "inspect", "verify", "export", "motion", "models", "doctor")
USAGE = """usage: echomimic COMMAND ...

  studio      open the page (echomimic studio --help)
  generate    make a video from files (echomimic generate --help)
  inspect     print how a video was made
  verify      say whether a video is marked as synthetic, and whether it was changed
  export      crop, caption and level a finished video
  motion      write a finished clip's motion as ARKit blend shapes
  models      list, download or verify models
  doctor      say what this machine has and lacks
  train       everything that trains and measures (echomimic train --help)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 2 the input was wrong, 1 ours."""
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in {"-h", "--help"}:
        print(USAGE, end="")
        return 0 if given else 2
    command, rest = given[0], given[1:]
    run = _command(command)
    if run is None:
        print(f"error: {command!r} is no command: studio, {', '.join(ENGINE)}, train.", file=sys.stderr)
        return 2
    return run(rest)


def _command(name: str) -> Callable[[list[str]], int] | None:
    """What runs the command; only that command's own modules are imported."""
    if name in ENGINE:
        from engine.__main__ import main as engine

        return lambda rest: engine([name, *rest])
    if name == "studio":
        from app import main as studio

        return studio
    if name == "train":
        from trainer.__main__ import main as train

        return train
    return None
