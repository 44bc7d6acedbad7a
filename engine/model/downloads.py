"""The released models from the Hugging Face hub into the folder layout of the release, resumed, verified.

huggingface_hub does the transfer: a file that was interrupted goes on where it stopped. What the hub says of a file
(size, SHA-256) is kept beside the model, so that it can be verified later without a network. Knows nothing about what
is in the files.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile
from tqdm import tqdm

from engine.errors import UserError
from engine.variants import SPEECH_ENCODERS, Variant

CHECKSUMS = "checksums.json"
BASE_REPO = "alibaba-pai/Wan2.1-Fun-V1.1-1.3B-InP"
BASE_FOLDER = "Wan2.1-Fun-V1.1-1.3B-InP"
BASE_FILES = (
    "config.json",
    "Wan2.1_VAE.pth",
    "models_t5_umt5-xxl-enc-bf16.pth",
    "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
    "google/umt5-xxl/special_tokens_map.json",
    "google/umt5-xxl/spiece.model",
    "google/umt5-xxl/tokenizer.json",
    "google/umt5-xxl/tokenizer_config.json",
)
OURS_REPO = "BadToBest/EchoMimicV3"
TRANSFORMER_FILE = "transformer/diffusion_pytorch_model.safetensors"
"""Where each model's transformer lies in its repository, flash in a folder of its own."""
SPEECH_REPOS = {"preview": "facebook/wav2vec2-base-960h", "flash": "TencentGameMate/chinese-wav2vec2-base"}
SPEECH_FILES = {
    "preview": ("config.json", "preprocessor_config.json", "model.safetensors"),
    "flash": ("config.json", "preprocessor_config.json", "pytorch_model.bin"),
}


UNREACHABLE = (httpx.HTTPError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled)


@dataclass(frozen=True)
class Piece:
    """One file: where it is on the hub, and where it goes in the model's folder."""

    repo: str
    file: str
    target: PurePosixPath


def pieces(variant: Variant) -> list[Piece]:
    """Every file of a released model."""
    name = variant.name
    if name == "nano":
        raise UserError("nano is bundled; there is nothing to download.", "model")
    prefix = "echomimicv3-flash-pro/" if name == "flash" else ""
    speech = SPEECH_ENCODERS[name]
    return [
        *(Piece(BASE_REPO, file, PurePosixPath(BASE_FOLDER, file)) for file in BASE_FILES),
        Piece(OURS_REPO, prefix + TRANSFORMER_FILE, PurePosixPath(TRANSFORMER_FILE)),
        *(Piece(SPEECH_REPOS[name], file, PurePosixPath(speech, file)) for file in SPEECH_FILES[name]),
    ]


def download(variant: Variant, folder: Path) -> None:
    """Bring the model into `folder`, file by file, with a progress bar for each.

    A file that is there, whole, is not fetched again. Raises UserError for no connection, a file that is not on the
    hub, no room on the disk, or a file that arrives damaged.
    """
    wanted = pieces(variant)
    known = {piece: _on_hub(piece) for piece in wanted}
    missing = [piece for piece in wanted if not _is_whole(folder / piece.target, known[piece])]
    _check_room(folder, sum(known[piece]["size"] for piece in missing))
    for piece in tqdm(missing, desc=f"{variant.name}, files", disable=None):
        target = folder / piece.target
        try:
            arrived = Path(hf_hub_download(piece.repo, piece.file, local_dir=folder / ".download" / piece.repo))
        except UNREACHABLE as error:
            raise _unreachable(piece, error) from error
        if not _is_whole(arrived, known[piece]):
            arrived.unlink()
            raise UserError(f"{piece.file} arrived damaged; run the download again.", "model")
        target.parent.mkdir(parents=True, exist_ok=True)
        arrived.replace(target)
    sums = {str(piece.target): known[piece] for piece in wanted}
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=1) + "\n")
    shutil.rmtree(folder / ".download", ignore_errors=True)


def verify(folder: Path) -> list[str]:
    """What is wrong with the model in `folder`, a line for each file; nothing where all is as it was on the hub."""
    try:
        sums = json.loads((folder / CHECKSUMS).read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} has no readable {CHECKSUMS}: only a model that was downloaded here can be verified.", "model"
        ) from error
    faults = []
    for name, known in sums.items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif not _is_whole(path, known):
            faults.append(f"{name} is not what was downloaded")
    return faults


def _on_hub(piece: Piece) -> dict:
    try:
        found = HfApi().get_paths_info(piece.repo, [piece.file])
    except UNREACHABLE as error:
        raise _unreachable(piece, error) from error
    if not found or not isinstance(found[0], RepoFile):
        raise UserError(f"{piece.repo} has no file {piece.file} any more; the model cannot be downloaded.", "model")
    lfs = found[0].lfs
    return {"size": found[0].size, "sha256": lfs.sha256 if lfs else None}


def _unreachable(piece: Piece, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
    return UserError(
        f"{piece.repo} cannot be reached ({reason}); check the connection and run the download again, it goes on where "
        "it stopped.",
        "model",
    )


def _is_whole(path: Path, known: dict) -> bool:
    if not path.is_file() or path.stat().st_size != known["size"]:
        return False
    if known["sha256"] is None:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == known["sha256"]


def _check_room(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"The model needs {needed / 1e9:.1f} GB on the disk of {folder}, {free / 1e9:.1f} GB are free; make room, "
            "or choose another folder with --to.",
            "to",
        )
