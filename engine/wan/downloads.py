"""The released models from the Hugging Face hub into the folder layout of the release, resumed, verified.

huggingface_hub finds and transfers the files. What the hub says of each (size, checksum) is kept beside the model, so
that it can be verified later without a network. Knows nothing about what is in the files. Departure:
`hf_hub_download` throws a file away that was interrupted (since huggingface_hub 2), so its transfer is called with a
file of ours, which stays and goes on where it stopped.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers
from tqdm import tqdm

from engine.contract.errors import UserError, full_disk_said
from engine.contract.variants import SPEECH_ENCODERS, TRANSFORMER_WEIGHTS, Variant
from engine.wan.layout import AUTOENCODER_FILE, BASE, IMAGE_FILE, TEXT_FILE, TOKENIZER

CHECKSUMS = "checksums.json"
PART = ".part"
"""Ends the name of a file that has not all arrived."""
BASE_REPO = f"alibaba-pai/{BASE}"
BASE_FILES = (
    "config.json",
    AUTOENCODER_FILE,
    TEXT_FILE,
    IMAGE_FILE,
    *(
        f"{TOKENIZER.as_posix()}/{name}"
        for name in ("special_tokens_map.json", "spiece.model", "tokenizer.json", "tokenizer_config.json")
    ),
)
TRANSFORMER_REPO = "BadToBest/EchoMimicV3"
TRANSFORMER_FILES = {
    "preview": "transformer/diffusion_pytorch_model.safetensors",
    "flash": "echomimicv3-flash-pro/diffusion_pytorch_model.safetensors",
}
SPEECH_REPOS = {"preview": "facebook/wav2vec2-base-960h", "flash": "TencentGameMate/chinese-wav2vec2-base"}
SPEECH_FILES = {
    "preview": ("config.json", "preprocessor_config.json", "model.safetensors"),
    "flash": ("config.json", "preprocessor_config.json", "pytorch_model.bin"),
}
UNREACHABLE = (httpx2.HTTPError, HfHubHTTPError, OfflineModeIsEnabled)


@dataclass(frozen=True)
class Piece:
    """One file: where it is on the hub, and where it goes in the model's folder."""

    repo: str
    file: str
    target: PurePosixPath


@dataclass(frozen=True)
class Known:
    """What the hub says of a file: its size, and its SHA-256 or, of a small one, git's checksum."""

    size: int
    sha256: str | None
    git_sha1: str | None

    def is_whole(self, path: Path) -> bool:
        """Whether the file at `path` is this one."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        if self.sha256 is None:
            return hashlib.sha1(b"blob %d\0" % self.size + path.read_bytes()).hexdigest() == self.git_sha1
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


def pieces(variant: Variant) -> list[Piece]:
    """Every file of a released model, the speech encoder first, by which its folder is recognised."""
    name = variant.name
    if name == "nano":
        raise UserError("nano is bundled; there is nothing to download.", "model")
    speech = SPEECH_ENCODERS[name]
    return [
        *(Piece(SPEECH_REPOS[name], file, PurePosixPath(speech, file)) for file in SPEECH_FILES[name]),
        *(Piece(BASE_REPO, file, PurePosixPath(BASE, file)) for file in BASE_FILES),
        Piece(TRANSFORMER_REPO, TRANSFORMER_FILES[name], PurePosixPath(TRANSFORMER_WEIGHTS)),
    ]


def download(variant: Variant, folder: Path, endpoint: str | None = None) -> None:
    """Bring the model into `folder`, with a progress bar for each file.

    A file that is there, whole, is not fetched again; one that was interrupted goes on. `endpoint` is the hub's
    address, by default huggingface_hub's own. Raises UserError for no connection, a file that is not on the hub, no
    room on the disk, or a file that arrives damaged.
    """
    wanted = pieces(variant)
    known = _on_hub(wanted, endpoint)
    sums = {str(piece.target): vars(known[piece]) for piece in wanted}
    missing = [piece for piece in wanted if not known[piece].is_whole(folder / piece.target)]
    _check_room(folder, sum(known[piece].size for piece in missing))
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=1) + "\n")
    for piece in tqdm(missing, desc=f"{variant.name}, files", disable=None):
        target = folder / piece.target
        part = target.with_name(target.name + PART)
        target.parent.mkdir(parents=True, exist_ok=True)
        with full_disk_said(folder, "to"):
            _fetch(piece, known[piece], part, endpoint)
        if not known[piece].is_whole(part):
            part.unlink()
            raise UserError(f"{piece.file} arrived damaged; run the download again.", "model")
        part.replace(target)


def verify(folder: Path) -> list[str]:
    """What is wrong with the model in `folder`, a line for each file; nothing where all is as it was on the hub."""
    try:
        sums = json.loads((folder / CHECKSUMS).read_text())
        known = {name: Known(**values) for name, values in sums.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder} has no readable {CHECKSUMS}: only a model that was downloaded here can be verified.", "model"
        ) from error
    faults = []
    for name, file in known.items():
        path = folder / name
        if path.with_name(path.name + PART).is_file():
            faults.append(f"{name} is half downloaded")
        elif not path.is_file():
            faults.append(f"{name} is missing")
        elif not file.is_whole(path):
            faults.append(f"{name} is not what is on the hub")
    return faults


def _on_hub(wanted: list[Piece], endpoint: str | None) -> dict[Piece, Known]:
    """What the hub says of each piece."""
    api, known = HfApi(endpoint=endpoint), {}
    for repo in dict.fromkeys(piece.repo for piece in wanted):
        files = [piece.file for piece in wanted if piece.repo == repo]
        try:
            listed = {found.path: found for found in api.get_paths_info(repo, files)}
        except UNREACHABLE as error:
            raise _unreachable(repo, error) from error
        for piece in (piece for piece in wanted if piece.repo == repo):
            found = listed.get(piece.file)
            if not isinstance(found, RepoFile):
                raise UserError(f"{repo} has no file {piece.file} any more; the model cannot be downloaded.", "model")
            known[piece] = Known(found.size, found.lfs.sha256 if found.lfs else None, found.blob_id)
    return known


def _fetch(piece: Piece, known: Known, part: Path, endpoint: str | None) -> None:
    """The rest of a file behind what is in `part` already."""
    # Small files may arrive compressed, which cannot go on in the middle; too much of one is another version's.
    if known.sha256 is None or (part.is_file() and part.stat().st_size > known.size):
        part.unlink(missing_ok=True)
    url = hf_hub_url(piece.repo, piece.file, endpoint=endpoint or constants.ENDPOINT)
    try:
        with part.open("ab") as file:
            http_get(url, file, resume_size=file.tell(), headers=build_hf_headers(), expected_size=known.size)
    except UNREACHABLE as error:
        raise _unreachable(piece.repo, error) from error
    except OSError as error:
        if "Consistency check failed" not in str(error):
            raise
        part.unlink()
        raise UserError(f"{piece.file} arrived damaged; run the download again.", "model") from error


def _unreachable(repo: str, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
    return UserError(
        f"{repo} cannot be reached ({reason}); check the connection and run the download again, it goes on where it "
        "stopped.",
        "model",
    )


def _check_room(folder: Path, needed: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be made: {error.strerror}; choose another with --to.", "to"
        ) from None
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"The model needs {needed / 1e9:.1f} GB on the disk of {folder}, {free / 1e9:.1f} GB are free; make room, "
            "or choose another folder with --to.",
            "to",
        )
