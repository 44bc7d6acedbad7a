"""The signed manifest (C2PA) and China's `AIGC` record: what a file says of itself, and whether it still holds.

C2PA Technical Specification 2.2 (actions, `c2pa.created` with IPTC's `trainedAlgorithmicMedia`); GB 45438-2025,
appendix E, for the fields of `AIGC`.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engine.contract.errors import UserError
from engine.media.marking.signer import signing_files

SOFTWARE = "EchoMimic Studio"
AIGC_KEY = "AIGC"
SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
TYPES = {".mp4": "video/mp4", ".gif": "image/gif"}
SOUND = "org.echomimic.sound"


@dataclass(frozen=True)
class Manifest:
    """What a file's manifest says. `state` is whole, changed or none; the rest is empty where there is none."""

    state: str
    software: str = ""
    signer: str = ""
    when: str = ""
    source_type: str = ""
    faults: tuple[str, ...] = ()


def aigc(metadata: dict[str, str]) -> str:
    """The `AIGC` record as JSON: the same for the same `metadata`, and nothing in it that tells who made it."""
    produced = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()[:32]
    record = {
        "Label": "1",  # is generated, not "may be" (2) or "is suspected to be" (3)
        "ContentProducer": SOFTWARE,
        "ProduceID": produced,
        "ReserveCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReserveCode2": "",
    }
    return json.dumps(record)


def sign(source: Path, signed: Path, suffix: str, *, has_sound: bool) -> None:
    """Write `source`, a whole file of the kind `suffix`, to `signed` with a manifest. The last step of every file.

    Raises UserError when it cannot be signed; `signed` is then no file to be used.
    """
    import c2pa

    chain, key = signing_files()
    created = {
        "action": "c2pa.created",
        "digitalSourceType": SYNTHETIC,
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "softwareAgent": {"name": SOFTWARE, "version": _version()},
    }
    manifest = {
        "claim_generator_info": [{"name": SOFTWARE, "version": _version()}],
        "format": TYPES[suffix],
        "title": "Talking portrait",
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": SOUND, "data": {"included": has_sound, "lip_movement": "synthetic, made to follow the sound"}},
        ],
    }
    try:
        info = c2pa.C2paSignerInfo(b"es256", chain.read_bytes(), key.read_bytes(), None)
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(manifest) as builder,
            source.open("rb") as before,
            signed.open("w+b") as after,
        ):
            builder.sign(signer, TYPES[suffix], before, after)
    except (c2pa.C2paError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"The video cannot be signed, so it was not written: {reason}.", "out") from error


def read_manifest(path: Path) -> Manifest:
    """What the manifest of `path` says, and whether the file is as it was signed. Whether the signer is one whom others
    know is not asked."""
    import c2pa

    kind = TYPES.get(path.suffix.lower())
    if kind is None:
        return Manifest("none")
    try:
        with path.open("rb") as file, c2pa.Reader(kind, file) as reader:
            told: dict[str, Any] = json.loads(reader.json())
    except c2pa.C2paError as error:
        return Manifest("none" if "ManifestNotFound" in str(error) else "changed", faults=(str(error)[:200],))
    active = told["manifests"][told["active_manifest"]]
    faults = [one for one in told.get("validation_status", []) if one["code"] != "signingCredential.untrusted"]
    created: dict[str, Any] = {}
    for assertion in active.get("assertions", []):
        if assertion["label"].startswith("c2pa.actions"):
            created = next(iter(assertion["data"]["actions"]), {})
    software = (active.get("claim_generator_info") or [{}])[0]
    return Manifest(
        "changed" if faults else "whole",
        f"{software.get('name', '')} {software.get('version', '')}".strip(),
        (active.get("signature_info") or {}).get("common_name")
        or (active.get("signature_info") or {}).get("issuer", ""),
        created.get("when", ""),
        created.get("digitalSourceType", "").rpartition("/")[2],
        tuple(str(one["code"]) for one in faults),
    )


def _version() -> str:
    try:
        return version("echomimic-studio")
    except PackageNotFoundError:  # a checkout
        return "in development"
