"""Nano as it is trained: built from nothing or from another nano, on the speech corpus and the faces made for it."""

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.contract.errors import UserError
from engine.contract.records import NegativeRecord
from engine.nano.encoders import NanoAudioEncoder
from engine.nano.model import NanoModel
from trainer.data.faces import mean_face, ridge_map
from trainer.data.speech.corpus import Corpus
from trainer.data.synthetic_clips import VOCABULARY, ClipMaker
from trainer.loop.flow import FlowBatch
from trainer.loop.lora import add_lora
from trainer.loop.processes import Processes
from trainer.loop.recipes import SFTRecipe
from trainer.loop.training import Trainee
from trainer.subjects.audio_encoder import read_audio_encoder
from trainer.subjects.features import corpus_features
from trainer.subjects.labels import nano_negatives
from trainer.subjects.nano_batches import NanoBatches, NanoVelocity, nano_trainee
from trainer.subjects.nano_validation import NanoClips
from trainer.subjects.negatives import Negative, NegativePool
from trainer.subjects.subject import Draw

TRAIN_SPLIT, HELD_OUT_SPLIT = "train", "heldout_voice"
HELD_OUT_BATCHES = 4
_HELD_OUT_STEP = 2**31 - 64
"""The held-out batches are those of steps that no run reaches."""
_STATISTICS_STEP = 2**31 - 1
"""The deviations are measured on clips of a step that no run reaches."""
_LEAST_SLOT_STD = 1e-3
_STD_FLOOR = 0.15
"""Least deviation of a point's value, as a share of the liveliest point's: else a forehead counts like the lips."""


@dataclass(frozen=True)
class NanoSubject:
    """A `trainer.subjects.subject.Subject`: the nano `start`, or a new one, and a corpus of speech.

    `audio_encoder` is a file to be built on in place of the start's own, needed where there is no start. `features` is
    where the corpus's audio features are, or are to be kept; default: in the run.
    """

    corpus: Path
    start: NanoModel | None = None
    start_folder: Path | None = None
    audio_encoder: Path | None = None
    features: Path | None = None

    @classmethod
    def begun_with(cls, folder: Path, corpus: Path, **rest: Path | None) -> "NanoSubject":
        """The nano in `folder`, to be trained on; `rest` are this class's other fields."""
        return cls(corpus, NanoModel.load(folder), folder, **rest)

    @property
    def start_sha256(self) -> str | None:
        """Of the start's transformer."""
        return self.start.checkpoint_sha256 if self.start else None

    def ready(self, recipe: SFTRecipe, parts: int, *, measured: bool) -> SFTRecipe:
        """`recipe` itself. Raises UserError where the corpus or the audio encoder is not there."""
        for split in (TRAIN_SPLIT, HELD_OUT_SPLIT) if measured else (TRAIN_SPLIT,):
            Corpus(self.corpus / split)
        if self.audio_encoder is not None:
            read_audio_encoder(self.audio_encoder, recipe.channels["audio"])
        return recipe

    def learns_from(self) -> dict[str, Any]:
        """The corpus's length, and which audio encoder hears it."""
        found: dict[str, Any] = {"corpus_frames": len(Corpus(self.corpus / TRAIN_SPLIT).curves)}
        if self.audio_encoder is not None:
            found["audio_encoder_sha256"] = hashlib.sha256(self.audio_encoder.read_bytes()).hexdigest()
        return found

    def built(self, recipe: SFTRecipe, lora_rank: int) -> Trainee:
        """A nano of the recipe, with the start's weights where there is one."""
        if self.audio_encoder is not None:
            encoder = read_audio_encoder(self.audio_encoder, recipe.channels["audio"])
        else:
            encoder = self._begun_with().audio_encoder
        clips = ClipMaker(Corpus(self.corpus / TRAIN_SPLIT), recipe.seed)
        return _trainee(build_model(recipe, clips, encoder, self.start), recipe, lora_rank)

    def copied(self, recipe: SFTRecipe, lora_rank: int) -> Trainee:
        """The start, all that is trained of it unfrozen."""
        model = copy.deepcopy(self._begun_with())
        NanoVelocity(model).requires_grad_(True)
        return _trainee(model, recipe, lora_rank)

    def reference(self) -> nn.Module:
        """The start's forward."""
        return NanoVelocity(self._begun_with())

    def batches(self, recipe: SFTRecipe, trainee: Trainee, run: Path, processes: Processes) -> Draw:
        """Synthetic faces that say the corpus."""
        model, features = _nano(trainee), self.features or run / "features.npy"
        batches = self._batches(recipe, model, TRAIN_SPLIT, features, recipe.feature_versions)
        return lambda step: processes.part(batches.draw(model, step))

    def held_out(self, recipe: SFTRecipe, trainee: Trainee, run: Path, processes: Processes) -> list[FlowBatch]:
        """Of voices that are never trained on; `run` keeps their audio features."""
        model, endless = _nano(trainee), recipe.endless()
        batches = self._batches(endless, model, HELD_OUT_SPLIT, run / "heldout_features.npy", 1)
        steps = [_HELD_OUT_STEP + n * len(recipe.lengths) for n in range(HELD_OUT_BATCHES)]
        return [processes.part(batches.draw(model, step)) for step in steps]

    def clips(self, trainee: Trainee, count: int, device: torch.device) -> NanoClips:
        """The bundled portrait, speaking with held-out voices."""
        return NanoClips(_nano(trainee).description, Corpus(self.corpus / HELD_OUT_SPLIT), count)

    def pool(
        self,
        device: torch.device,
        records: Sequence[NegativeRecord],
        labels: Path,
        seed: int,
        *,
        any_checkpoint: bool = False,
        tell: Callable[[str], None] = print,
    ) -> NegativePool:
        """The labelled clips as negatives."""
        assert self.start_folder is not None, "labels name the model that made their clips"
        model = self._begun_with()
        negatives, notes = nano_negatives(records, model, self.start_folder, labels, any_checkpoint=any_checkpoint)
        for note in notes:
            tell(note)
        return NegativePool(negatives, seed, model)

    def pool_of(self, negatives: Sequence[Negative], seed: int) -> Callable[[torch.device], NegativePool]:
        """The pool of negatives that were made already, on any device. Raises UserError where there are none."""
        if not negatives:
            raise UserError("There are no negatives to learn from.", "labels")
        pool = NegativePool(negatives, seed, self._begun_with())
        return lambda device: pool

    def _begun_with(self) -> NanoModel:
        assert self.start is not None, "there is no model to begin with"
        return self.start

    def _batches(self, recipe: SFTRecipe, model: NanoModel, split: str, features: Path, versions: int) -> NanoBatches:
        """Batches of `split` as `model` hears it, the features made if they are not in the file `features`."""
        corpus = Corpus(self.corpus / split)
        heard = corpus_features(model.audio_encoder.eval(), corpus, features, versions, recipe.seed)
        return NanoBatches(recipe, ClipMaker(corpus, recipe.seed), heard)


def _nano(trainee: Trainee) -> NanoModel:
    assert isinstance(trainee.model, NanoModel)
    return trainee.model


def _trainee(model: NanoModel, recipe: SFTRecipe, lora_rank: int) -> Trainee:
    if lora_rank:
        model.requires_grad_(False)
        add_lora(model.transformer, lora_rank)
    return nano_trainee(model, recipe)


def build_model(
    recipe: SFTRecipe, clips: ClipMaker, audio_encoder: NanoAudioEncoder, start: NanoModel | None = None
) -> NanoModel:
    """A nano with the pre-trained audio encoder: fresh with the corpus's statistics, or `start`, trained on.

    `start` keeps its own statistics, and the words that it knows their meaning.
    """
    torch.manual_seed(recipe.seed)
    model = NanoModel(
        {
            "layout": 1,
            "transformer": recipe.transformer,
            "channels": recipe.channels,
            "vocabulary": list(VOCABULARY),
            "window_latent_frames": max(length for length, _ in recipe.lengths),
            "recipe": recipe.as_dict(),
        }
    )
    model.audio_encoder.load_state_dict(audio_encoder.state_dict())
    model.audio_encoder.requires_grad_(False)
    if start is not None:
        _take_over(model, start)
        return model
    sample = clips.draw(_STATISTICS_STEP, 512, 8)
    motion = (sample.points - sample.points[:, :1]).std((0, 1))
    position = sample.points.std((0, 1))
    slots = sample.slots.std((0, 1))
    model.autoencoder.load_state_dict(
        {
            "mean_face": torch.from_numpy(mean_face()),
            "position_std": torch.from_numpy(position),
            "motion_std": torch.from_numpy(np.maximum(motion, _STD_FLOOR * motion.max())),
            "slot_std": torch.from_numpy(np.maximum(slots, _LEAST_SLOT_STD)),
            "ridge": torch.from_numpy(ridge_map(np.random.default_rng(recipe.seed))),
        }
    )
    return model


def _take_over(model: NanoModel, start: NanoModel) -> None:
    """Set `model` to the weights of `start`, all but the audio encoder's; words are matched by name."""
    for part in ("transformer", "image_encoder", "autoencoder"):
        model.get_submodule(part).load_state_dict(start.get_submodule(part).state_dict())
    known = {word: index + 1 for index, word in enumerate(start.text_encoder.vocabulary.words)}
    with torch.no_grad():
        for index, word in enumerate(model.text_encoder.vocabulary.words):
            if word in known:
                model.text_encoder.embedding.weight[index + 1] = start.text_encoder.embedding.weight[known[word]]
