"""What is different on Hugging Face Spaces: where to listen, how much a visitor may ask for, how long anything is kept.

Knows nothing about the page. A Space's disk is gone after a restart, so label events are copied to a dataset, and
brought back from it (`studio.label_backup`), where a token is set.
"""

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from studio.identity import Network

SPACE_VARIABLE = "SPACE_ID"
"""The environment variable that Spaces sets: owner/name."""
TOKEN_VARIABLE = "HF_TOKEN"
DATASET_VARIABLE = "ECHOMIMIC_LABELS_DATASET"
PERSISTENT = Path("/data")
"""Where a Space has a disk that outlives a restart, if it was given one."""

SPACES_NETWORK = ipaddress.ip_network("10.0.0.0/8")
"""Where the proxy is by which alone a Space is reached."""


@dataclass(frozen=True)
class Surroundings:
    """Defaults for the flags of `app.py`, and where labels are copied to: a dataset's name and a token, or None.

    `proxies` are the networks whose word about a caller's address counts.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    jobs_each: int | None = None
    jobs: int | None = None
    keep_hours: int | None = None
    data: Path | None = None
    labels_dataset: str | None = None
    token: str | None = None
    proxies: tuple[Network, ...] = ()
    is_space: bool = False


def surroundings() -> Surroundings:
    """What this process runs in: one's own machine, or a Space, where strangers share two cores."""
    space, token = os.environ.get(SPACE_VARIABLE), os.environ.get(TOKEN_VARIABLE) or None
    dataset = os.environ.get(DATASET_VARIABLE) or (f"{space}-labels" if space else None)
    copied_to = dataset if token else None
    if not space:
        return Surroundings(labels_dataset=copied_to, token=token)
    return Surroundings(
        host=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"),
        port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        jobs_each=3,
        jobs=30,
        keep_hours=2,
        data=PERSISTENT / "studio" if os.access(PERSISTENT, os.W_OK) else None,
        labels_dataset=copied_to,
        token=token,
        proxies=(SPACES_NETWORK,),
        is_space=True,
    )
