"""The real studio on nano, whose steps can be held: `python -m tests.browser.held_studio DATA PORT`.

While the file `hold` lies in the data folder, every step but the first waits once it has taken its settings.
Otherwise it is `app.py`.
"""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import app
from engine.contract.progress import ProgressCallback
from engine.contract.records import GenerationRecord
from engine.contract.request import GenerationRequest
from studio.ports import EnginePorts, Live
from tests.studio.small_engine import HOLD_FILE

FIRST_HELD = 1
"""The step before it paints the first preview, by which a page shows that steps are running."""


class HeldEngine(app.LocalEngine):
    """Nano with a pause between a step's settings and the step."""

    hold: Path

    def ports(self) -> EnginePorts:
        """The engine's, with steps that can be held."""
        ports = super().ports()

        def generate(
            request: GenerationRequest, on_progress: ProgressCallback, *, live: Live | None = None, **kept: Any
        ) -> GenerationRecord:
            def held(step: int) -> Any:
                assert live is not None
                settings = live(step)
                while step >= FIRST_HELD and self.hold.exists():
                    time.sleep(0.02)
                return settings

            return ports.generate(request, on_progress, live=held if live else None, **kept)

        return dataclasses.replace(ports, generate=generate)


if __name__ == "__main__":
    HeldEngine.hold = Path(sys.argv[1]) / HOLD_FILE
    app.LocalEngine = HeldEngine  # type: ignore[misc]
    sys.exit(app.main(["--data", sys.argv[1], "--port", sys.argv[2]]))
