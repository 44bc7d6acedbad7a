"""The released models' encoders: text (umT5), picture (CLIP), speech (wav2vec2) and video (the Wan autoencoder).

transformers' and diffusers' own classes, loaded from the original files and called the way the transformer was trained
with. Knows nothing about the transformer itself. Nano brings encoders of its own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    CLIPVisionModel,
    PreTrainedTokenizerBase,
    UMT5EncoderModel,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)
from transformers.utils.logging import disable_progress_bar

from engine.contract.errors import UserError
from engine.wan import checkpoints
from engine.wan.audio_projection import TOKENS_PER_VIDEO_FRAME, WINDOW
from engine.wan.sizes import Shapes, autoencoder_base_dim, clip_config, umt5_config
from engine.wan.tiles import cover, join

# Progress is told through our own reports; standard error is for one line of what went wrong.
disable_progress_bar()

TEXT_TOKENS = 512
SAMPLE_RATE_HZ = 16_000
HOP_SAMPLES = 320
RECEPTIVE_SAMPLES = 400
"""wav2vec2 makes a feature of 400 samples every 320: at 50 Hz, but one second has room for 49 only."""

LATENT_PX = 8
"""Side in pixels of what a latent stands for."""

Memory = list[Tensor | str | None]
"""What the video autoencoder's causal convolutions remember of the frames before; it puts a word into it too."""
Run = Callable[[Tensor, Memory, bool], Tensor]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class TextEncoder:
    """Prompts to umT5 states: padding masked while encoding, then dropped and replaced by zeros."""

    def __init__(self, model: UMT5EncoderModel, tokenizer: PreTrainedTokenizerBase, tokens: int = TEXT_TOKENS) -> None:
        self.model, self.tokenizer, self.tokens = model, tokenizer, tokens
        self.runs_on: torch.device | None = None
        """Where it computes, if not where its weights are."""

    @classmethod
    def load(cls, weights: Path, tokenizer: Path, dtype: torch.dtype = torch.float32) -> Self:
        """From `models_t5_umt5-xxl-enc-bf16.pth` and the folder `google/umt5-xxl`."""
        model = checkpoints.load(_umt5, checkpoints.TEXT_ENCODER, weights, dtype)
        _require(tokenizer / "tokenizer_config.json")
        return cls(model, AutoTokenizer.from_pretrained(tokenizer, local_files_only=True))

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """[B, tokens, text_dim]. Raises UserError for a prompt of more than `tokens` tokens, its end mark included."""
        batch = self.tokenizer(list(prompts), padding=True, return_tensors="pt").to(self._device)
        lengths = batch.attention_mask.sum(1)
        longest = int(lengths.max())
        if longest > self.tokens:
            raise UserError(f"The prompt has {longest} tokens; the limit is {self.tokens}, so shorten it.", "prompt")
        return F.pad(self.states(batch.input_ids, batch.attention_mask), (0, 0, 0, self.tokens - longest))

    @torch.no_grad()
    def tokens_of(self, prompt: str) -> Tensor:
        """The states of one prompt without padding, [L, text_dim]; none for an empty one."""
        if not prompt:
            return torch.zeros(0, self.model.config.d_model, dtype=self.model.dtype, device=self._device)
        batch = self.tokenizer([prompt], return_tensors="pt").to(self._device)
        return self.states(batch.input_ids, batch.attention_mask)[0]

    @property
    def _device(self) -> torch.device:
        return self.runs_on or self.model.device

    def states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encoder states [B, L, text_dim] of token ids [B, L], zero where the mask [B, L] is 0."""
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states * attention_mask.unsqueeze(2).to(states)


class ImageEncoder:
    """Pictures to CLIP's penultimate states, class token first."""

    def __init__(self, model: CLIPVisionModel) -> None:
        self.model = model

    @classmethod
    def load(cls, weights: Path, dtype: torch.dtype = torch.float32) -> Self:
        """From `models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth`; its text tower is ignored."""
        return cls(checkpoints.load(_clip, checkpoints.IMAGE_ENCODER, weights, dtype))

    def encode(self, picture: np.ndarray) -> Tensor:
        """A picture, uint8 RGB [H, W, 3] of any shape, squeezed to a square → [1, 257, image_dim]."""
        side = self.model.config.image_size
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
        pixels = F.interpolate(pixels, size=(side, side), mode="bicubic", align_corners=False)
        mean, std = torch.tensor([CLIP_MEAN, CLIP_STD])[:, None, :, None, None]
        return self.states(((pixels - mean) / std).to(self.model.device, self.model.dtype))

    @torch.no_grad()
    def states(self, pixel_values: Tensor) -> Tensor:
        """States after the last layer but one [B, tokens, image_dim] of normalised pixels [B, 3, side, side]."""
        layers = _layer_outputs(self.model.encoder.layers, lambda: self.model(pixel_values))
        return layers[-2]


class AudioEncoder:
    """Speech to wav2vec2 features: the last layer at 50 Hz (preview), or every layer at 25 Hz in windows (flash)."""

    def __init__(self, model: Wav2Vec2Model, extractor: Wav2Vec2FeatureExtractor) -> None:
        self.model, self.extractor = model, extractor

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32) -> Self:
        """From the folder `wav2vec2-base-960h` or `chinese-wav2vec2-base`."""
        _require(folder / "config.json")
        _require(folder / "preprocessor_config.json")
        try:
            model, info = Wav2Vec2Model.from_pretrained(
                folder, local_files_only=True, dtype=dtype, output_loading_info=True, weights_only=True
            )
            extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
        except (*checkpoints.UNREADABLE, KeyError, TypeError) as error:
            raise UserError(
                f"The speech encoder in {folder} cannot be read: a file is missing, cut short, damaged or holds more "
                "than weights; download it again.",
                "model",
            ) from error
        # Only pre-training reads the mask embedding, and many published files lack it.
        missing = set(info["missing_keys"]) - {"masked_spec_embed"}
        if missing:
            raise UserError(f"{folder} is not a wav2vec2 speech encoder: {min(missing)} is missing.", "model")
        return cls(model.eval(), extractor)

    @torch.no_grad()
    def token_features(self, speech: np.ndarray, video_frames: int) -> Tensor:
        """Preview: float32 mono at 16 kHz → [1, 2F, audio_dim], 50 Hz, for F frames at 25 per second.

        Silence is added (or the end cut off) so that the last feature exists too: a second alone gives 49, not 50.
        """
        samples = (TOKENS_PER_VIDEO_FRAME * video_frames - 1) * HOP_SAMPLES + RECEPTIVE_SAMPLES
        features = self.model(self._normalised(speech, samples)).last_hidden_state
        assert features.shape[1] == TOKENS_PER_VIDEO_FRAME * video_frames
        return _varied(features)

    @torch.no_grad()
    def layer_windows(self, speech: np.ndarray, video_frames: int) -> Tensor:
        """Flash: float32 mono at 16 kHz → [1, F, 5, layers, audio_dim] at 25 Hz, for F frames.

        `speech` is expected at −23 LUFS. The convolutional features are stretched to F before the transformer layers;
        the window of a frame holds its neighbours too, and the clip's first and last frame stand in beyond its ends.
        """
        samples = video_frames * SAMPLE_RATE_HZ // 25
        features = self.model.feature_extractor(self._normalised(speech, samples))
        features = F.interpolate(features, size=video_frames, mode="linear", align_corners=True)
        projected, _ = self.model.feature_projection(features.transpose(1, 2))
        encoder = self.model.encoder
        layers = _varied(torch.stack(_layer_outputs(encoder.layers, lambda: encoder(projected)), dim=2))
        offsets = torch.arange(WINDOW) - WINDOW // 2
        frames = (torch.arange(video_frames)[:, None] + offsets).clamp(0, video_frames - 1)
        return layers[:, frames.to(layers.device)]

    def _normalised(self, speech: np.ndarray, samples: int) -> Tensor:
        """Exactly `samples` of speech, as the encoder's own feature extractor prepares them, [1, samples]."""
        fitted = np.pad(speech[:samples], (0, max(0, samples - len(speech))))
        values = self.extractor(fitted, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt").input_values
        return values.to(self.model.device, self.model.dtype)


class VideoAutoencoder:
    """Videos in [−1, 1] to latents of zero mean and unit deviation, and back, frame by frame.

    With `tile_px` a frame goes through in tiles of at most that side, which share `overlap_px`: the memory is that of
    a tile, the result nearly the same. 0 is the whole frame at once.
    """

    def __init__(self, model: AutoencoderKLWan, tile_px: int = 0, overlap_px: int = 0) -> None:
        self.model, self.tile_px, self.overlap_px = model, tile_px, overlap_px

    @classmethod
    def load(cls, weights: Path, dtype: torch.dtype = torch.float32) -> Self:
        """From `Wan2.1_VAE.pth`."""
        return cls(checkpoints.load(_wan_autoencoder, checkpoints.AUTOENCODER, weights, dtype))

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """[B, 3, F, H, W] with F = 4(T − 1) + 1, H and W multiples of 8 → [B, 16, T, H/8, W/8]."""
        return torch.cat(list(self.stream_encode(video[:, :, start:stop] for start, stop in _chunks(video))), dim=2)

    @torch.no_grad()
    def stream_encode(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Latents [B, 16, 1, h, w] one by one from the frames of each: [B, 3, 1, H, W], then [B, 3, 4, H, W] each.

        The autoencoder's own causal memory joins them, so they are those of the whole video. One stream at a time.
        """
        mean, std = self._statistics()

        def encode(frames: Tensor, memory: Memory, _is_first: bool) -> Tensor:
            states = self.model.encoder(frames, feat_cache=memory, feat_idx=[0])
            return (self.model.quant_conv(states)[:, : mean.shape[1]] - mean) / std

        convolutions = self.model._cached_conv_counts["encoder"]
        yield from self._stream(
            chunks, encode, convolutions, side=self.tile_px, overlap=self.overlap_px, scale=1 / LATENT_PX
        )

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """[B, 16, T, h, w] → [B, 3, F, 8h, 8w], clamped to [−1, 1]."""
        return torch.cat(list(self.stream_decode(latents)), dim=2)

    @torch.no_grad()
    def stream_decode(self, latents: Tensor) -> Iterator[Tensor]:
        """Frames [B, 3, 1 or 4, 8h, 8w] of each latent of [B, 16, T, h, w] in turn, clamped to [−1, 1].

        Bit for bit those of the whole video, with the memory of one latent. One stream at a time.
        """
        mean, std = self._statistics()

        def decode(latent: Tensor, memory: Memory, is_first: bool) -> Tensor:
            states = self.model.post_quant_conv(latent * std + mean)
            frames = self.model.decoder(states, feat_cache=memory, feat_idx=[0], first_chunk=is_first)
            return frames.clamp(-1, 1)

        tile, overlap = self.tile_px // LATENT_PX, self.overlap_px // LATENT_PX
        convolutions = self.model._cached_conv_counts["decoder"]
        yield from self._stream(
            latents.split(1, dim=2), decode, convolutions, side=tile, overlap=overlap, scale=LATENT_PX
        )

    def _stream(
        self, chunks: Iterable[Tensor], run: Run, convolutions: int, *, side: int, overlap: int, scale: float
    ) -> Iterator[Tensor]:
        """`run` on each chunk, whole or in tiles; what it remembers of a tile waits on the CPU for the next chunk."""
        device, dtype = self.model.device, self.model.dtype
        chunks = iter(chunks)
        first = next(chunks)
        height, width = first.shape[-2:]
        tiles = cover(height, width, side or max(height, width), overlap)
        memories: list[Memory] = [[None] * convolutions for _ in tiles]
        for number, chunk in enumerate(chain([first], chunks)):

            def made(index: int, chunk: Tensor = chunk, is_first: bool = number == 0) -> Tensor:
                memory = _moved(memories[index], device)
                part = run(tiles[index].of(chunk).to(device, dtype), memory, is_first)
                memories[index] = _moved(memory, torch.device("cpu"))
                return part.cpu()

            if len(tiles) == 1:
                yield run(chunk.to(device, dtype), memories[0], number == 0)
            else:
                yield join([tile.times(scale) for tile in tiles], made, round(overlap * scale))

    def _statistics(self) -> tuple[Tensor, Tensor]:
        config = self.model.config
        values = torch.tensor([config.latents_mean, config.latents_std]).to(self.model.device, self.model.dtype)
        mean, std = values[:, None, :, None, None, None]
        return mean, std


def _moved(memory: Memory, device: torch.device) -> Memory:
    return [entry.to(device) if isinstance(entry, Tensor) else entry for entry in memory]


def _chunks(video: Tensor) -> Iterator[tuple[int, int]]:
    """The frames of each latent: the first alone, then every four."""
    yield 0, 1
    yield from ((start, start + 4) for start in range(1, video.shape[2], 4))


def _umt5(shapes: Shapes) -> UMT5EncoderModel:
    return UMT5EncoderModel(umt5_config(shapes))


def _clip(shapes: Shapes) -> CLIPVisionModel:
    return CLIPVisionModel(clip_config(shapes))


def _wan_autoencoder(shapes: Shapes) -> AutoencoderKLWan:
    return AutoencoderKLWan(base_dim=autoencoder_base_dim(shapes))


def _layer_outputs(layers: nn.ModuleList, run: Callable[[], object]) -> list[Tensor]:
    """What each of `layers` puts out while `run` runs; by hooks, since `output_hidden_states` may be ignored."""
    outputs: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output)) for layer in layers]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    assert len(outputs) == len(layers), f"{len(layers)} layers, but {len(outputs)} outputs"
    return outputs


def _varied(features: Tensor) -> Tensor:
    """`features` [B, time, ..., channels] as they are, after a check that they change in time in every layer."""
    assert features.shape[1] == 1 or bool((features.float().var(dim=1).mean(dim=-1) > 0).all()), "constant features"
    return features


def _require(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"There is no {path.name} in {path.parent}; download the whole model folder.", "model")
