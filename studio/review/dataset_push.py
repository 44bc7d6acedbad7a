"""Labels with their clips as a dataset on Hugging Face: a folder that is complete in itself, pushed in one commit.

The paths in its lines are relative to the folder, so the trainer reads a download of it unchanged.
"""

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from engine.contract.errors import UserError
from engine.contract.records import NegativeRecord, StoredFile
from studio.review.clips import ClipFolder
from studio.review.export import negatives, preferences_csv
from studio.review.store import ReviewStore

log = logging.getLogger(__name__)
CARD = """---
task_categories: [video-classification]
tags: [echomimic, negative-preference, talking-head]
configs:
- config_name: default
  data_files: labels.jsonl
---
# Labels of generated clips

`labels.jsonl` holds {count} answers of {annotators} annotators about {clips} clips, one line each: what is wrong, when,
where, how much. The clips, their final latents and the inputs they were made from lie in `clips/`. `preferences.csv`
holds the answers to blind pairs. `python -m trainer ndpo --labels labels.jsonl` reads them as they are.
"""


def build_dataset(
    folder: Path, store: ReviewStore, clips: ClipFolder, batch_id: int | None = None, issue: str | None = None
) -> int:
    """Write the dataset into `folder`. Returns how many labels it holds; raises UserError for none."""
    # Labels that a Space brought back after a restart are of clips that it no longer has.
    records = [
        record for record in negatives(store, clips, batch_id, issue) if clips.video_of(record.clip_id).is_file()
    ]
    if not records:
        raise UserError("There are no labels to push; label some clips first.", "push")
    lines = [_within(folder, clips, record).model_dump_json() for record in records]
    (folder / "labels.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "preferences.csv").write_text(preferences_csv(store, batch_id), encoding="utf-8")
    annotators, held = len({record.annotator for record in records}), len({record.clip_id for record in records})
    card = CARD.format(count=len(records), annotators=annotators, clips=held)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return len(records)


def push_dataset(
    store: ReviewStore,
    clips: ClipFolder,
    name: str,
    token: str,
    *,
    batch_id: int | None = None,
    issue: str | None = None,
    private: bool = True,
    endpoint: str | None = None,
) -> str:
    """Push to the dataset `name` (owner/name), made if it does not exist. Returns its address; raises UserError.

    `endpoint` is another hub than huggingface.co.
    """
    from huggingface_hub import HfApi

    if name.count("/") != 1:
        raise UserError(f"A dataset is owner/name; got {name!r}.", "push")
    api = HfApi(endpoint, token or None)
    with tempfile.TemporaryDirectory() as scratch:
        count = build_dataset(Path(scratch), store, clips, batch_id, issue)
        try:
            address = api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
            message = f"{count} labels"
            api.upload_folder(repo_id=name, repo_type="dataset", folder_path=scratch, commit_message=message)
        except Exception as error:  # of the hub's client, of whichever web client that uses now, or of the disk
            log.info("the labels were not pushed", exc_info=True)
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200].replace(token or "\0", "…")
            raise UserError(
                f"Hugging Face did not take the labels ({reason}); check the name and the token.", "push"
            ) from error
    return str(address)


def _within(folder: Path, clips: ClipFolder, record: NegativeRecord) -> NegativeRecord:
    """The record with its files copied below `folder`, named relative to it; of the request's paths only the names."""
    target = Path("clips", record.clip_id)
    (folder / target).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(clips.video_of(record.clip_id), folder / target / "clip.mp4")

    def moved(file: StoredFile) -> StoredFile:
        shutil.copyfile(file.path, folder / target / file.path.name)
        return file.model_copy(update={"path": target / file.path.name})

    request = record.request
    names = {name: Path(path.name) for name, path in _paths(request)}
    return record.model_copy(
        update={
            "latents": moved(record.latents) if record.latents else None,
            "inputs": {name: moved(file) for name, file in record.inputs.items()},
            "request": request.model_copy(update=names),
        }
    )


def _paths(request: object) -> Sequence[tuple[str, Path]]:
    return [(name, value) for name, value in vars(request).items() if isinstance(value, Path)]
