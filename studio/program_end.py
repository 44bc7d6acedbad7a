"""Run one program to its end and write down how it ended: `python -m studio.program_end END_FILE PROGRAM …`.

A process of its own, so that the end of a program is known though the studio that started it is gone by then. Ctrl-C is
the program's to answer, also where this process was started with it ignored, as a shell's background jobs are.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run(end: Path, command: Sequence[str]) -> None:
    """Run `command`; the file `end` gets its exit code."""
    # What is ignored stays so in a child, what is handled does not.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    code = subprocess.call(command)
    if end.parent.is_dir():
        fresh = end.with_suffix(".new")
        fresh.write_text(json.dumps({"exit_code": code}), encoding="utf-8")
        fresh.replace(end)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
