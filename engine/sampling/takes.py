"""Which seed made which part of a clip: the first take, and every stretch that was made anew since.

Kept beside the latents, so that what follows a seed outside of the latents stays as it was where nothing was redone.
"""

import json
from dataclasses import asdict, dataclass

from safetensors import SafetensorError, safe_open

from engine.contract.request import GenerationRequest

TAKES_KEY = "takes"
_WHOLE_S = 1e9


@dataclass(frozen=True)
class Take:
    """`seed` made the clip between two times, in seconds; a later take replaces an earlier one."""

    seed: int
    start_s: float = 0.0
    stop_s: float = _WHOLE_S


def takes(request: GenerationRequest) -> tuple[Take, ...]:
    """The takes of the clip that `request` makes, in order; the first one is all of it.

    Latents that do not tell their takes count as of the request's own seed.
    """
    if request.redo_latents is None:
        return (Take(request.seed),)
    try:
        with safe_open(request.redo_latents, "pt") as file:
            told = json.loads((file.metadata() or {}).get(TAKES_KEY, "[]"))
        kept = tuple(Take(**take) for take in told)
    except (OSError, SafetensorError, ValueError, TypeError):
        kept = ()
    kept = kept or (Take(request.seed),)
    return kept if request.redo_span_s is None else (*kept, Take(request.seed, *request.redo_span_s))


def takes_metadata(request: GenerationRequest) -> dict[str, str]:
    """What a safetensors file of the clip's latents says about them."""
    return {TAKES_KEY: json.dumps([asdict(take) for take in takes(request)])}
