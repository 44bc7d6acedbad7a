"""EchoMimicTransformer3DModel: Wan's video transformer that listens.

diffusers' `WanTransformer3DModel` with our blocks (CDCA, paper Eq. 1) and an audio projection; one class serves nano,
preview and flash, which differ in constructor arguments only. Knows nothing about noise schedules, guidance or phases:
the modality weights W(c, τ) come in as numbers.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.utils import apply_lora_scale
from torch import Tensor, nn

from engine.sampling.condition_cache import CachedRows, projected
from engine.wan.audio_projection import FlashAudioProjection, PreviewAudioProjection
from engine.wan.cdca import CDCAttention, EchoMimicBlock, ModalConditions

SkipBlocks = Callable[[Tensor, Tensor, Callable[[Tensor], Tensor]], Tensor]
"""Called with the tokens [B, L, D], the timestep's modulation [B, 6, D] and what runs the blocks."""

AudioProjectionKind = Literal["preview", "flash"]


class EchoMimicTransformer3DModel(WanTransformer3DModel):
    """The velocity v = ε − x0 of 16 latent channels, from those, the mask, the masked video, text, image and audio."""

    _repeated_blocks = ["EchoMimicBlock"]  # noqa: RUF012 (ModelMixin's attributes)
    _no_split_modules = ["EchoMimicBlock"]  # noqa: RUF012
    # Tokens are split once, in front of everything that is done for each of them: step caches keep shards too.
    _cp_plan = {  # noqa: RUF012
        "rope": dict.fromkeys((0, 1), ContextParallelInput(split_dim=1, expected_dims=4, split_output=True)),
        "sequence": {0: ContextParallelInput(split_dim=1, expected_dims=3, split_output=True)},
        "proj_out": ContextParallelOutput(gather_dim=1, expected_dims=3),
    }

    face_tokens_only = True
    """Let audio attend to face tokens alone where every row has the same: exact, and a switch to measure it by."""

    @register_to_config
    def __init__(  # noqa: PLR0917 (one argument for each of Wan's)
        self,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        num_attention_heads: int = 12,
        attention_head_dim: int = 128,
        in_channels: int = 36,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 8960,
        num_layers: int = 30,
        cross_attn_norm: bool = True,
        eps: float = 1e-6,
        image_dim: int = 1280,
        rope_max_seq_len: int = 1024,
        audio_projection: AudioProjectionKind = "preview",
        audio_dim: int = 768,
        audio_layers: int = 12,
        audio_intermediate_dim: int = 512,
        audio_context_tokens: int = 32,
    ) -> None:
        """The defaults are the released preview model's; the last three arguments matter to flash only."""
        # Undecorated, or Wan's constructor would write its own arguments over our registered ones; and no layers,
        # because its blocks would be built only to be thrown away.
        WanTransformer3DModel.__init__.__wrapped__(
            self,
            patch_size=patch_size,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            text_dim=text_dim,
            freq_dim=freq_dim,
            ffn_dim=ffn_dim,
            num_layers=0,
            cross_attn_norm=cross_attn_norm,
            eps=eps,
            image_dim=image_dim,
            rope_max_seq_len=rope_max_seq_len,
        )
        dim = num_attention_heads * attention_head_dim
        # Not `audio_projection`: diffusers finds a constructor argument of that name before a submodule.
        self.audio_projector: nn.Module
        match audio_projection:
            case "preview":
                self.audio_projector = PreviewAudioProjection(audio_dim, dim)
            case "flash":
                self.audio_projector = FlashAudioProjection(
                    audio_dim, audio_layers, audio_intermediate_dim, audio_context_tokens, dim
                )
            case _:
                raise ValueError(f"audio_projection must be 'preview' or 'flash'; got {audio_projection!r}.")
        self.blocks = nn.ModuleList(
            EchoMimicBlock(
                dim,
                ffn_dim,
                num_attention_heads,
                cross_attn_norm=cross_attn_norm,
                eps=eps,
                audio_bias=audio_projection == "flash",
            )
            for _ in range(num_layers)
        )
        # Several devices share the tokens behind it.
        self.sequence = nn.Identity()
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Start as a quiet Wan: Xavier blocks, no output yet, and audio that adds nothing until it has learnt to."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        embedder = self.condition_embedder
        for linear in (
            embedder.time_embedder.linear_1,
            embedder.time_embedder.linear_2,
            embedder.text_embedder.linear_1,
            embedder.text_embedder.linear_2,
        ):
            nn.init.normal_(linear.weight, std=0.02)
        nn.init.zeros_(self.proj_out.weight)
        for module in self.modules():
            if isinstance(module, CDCAttention):
                nn.init.zeros_(module.to_v_audio.weight)

    @apply_lora_scale("attention_kwargs")
    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_image: Tensor | None = None,
        *,
        encoder_hidden_states_audio: Tensor,
        modal_weights: Tensor | None = None,
        face_mask: Tensor | None = None,
        audio_scale: float = 1.0,
        cached: CachedRows | None = None,
        skip_blocks: SkipBlocks | None = None,
        attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """Predict the velocity [B, out_channels, T, H, W] as `.sample` (or as a 1-tuple without `return_dict`).

        hidden_states [B, in_channels, T, H, W]: noisy latents, mask (1 = known), masked-video latents.
        timestep [B]: τ = 1000·σ. encoder_hidden_states [B, Lt, text_dim]: zero-padded, not masked; any length.
        encoder_hidden_states_image [B, Li, image_dim]: any number of tokens. encoder_hidden_states_audio: 50 Hz
        features [B, 2F, audio_dim] (preview) or windows [B, F, 5, layers, audio_dim] (flash), F = 4(T − 1) + 1.
        modal_weights [B, 3]: W(c, τ) of text, image, audio; ones if None. face_mask [B, (H/p)·(W/p)]: multiplies the
        audio attention of every latent frame; ones if None. audio_scale: multiplies it too. cached: where to keep what
        the conditions become (`ConditionCache.rows`); nothing is kept if None. skip_blocks: decides whether the blocks
        run at all (`engine.sampling.step_cache.TeaCache`); they do if None.
        Raises ValueError if the audio is not as long as the video.
        """
        grid = [size // patch for size, patch in zip(hidden_states.shape[2:], self.config.patch_size, strict=True)]
        rotary_emb = self.rope(hidden_states)
        hidden_states = self.sequence(self.patch_embedding(hidden_states).flatten(2).transpose(1, 2).contiguous())

        embedder = self.condition_embedder
        # The time embedder stays in float32 whatever the rest is loaded in.
        timestep = embedder.timesteps_proj(timestep).to(embedder.time_embedder.linear_1.bias.dtype)
        temb = embedder.time_embedder(timestep).type_as(hidden_states)
        timestep_proj = embedder.time_proj(embedder.act_fn(temb)).unflatten(1, (6, -1))
        text, image, audio = self._embedded(
            encoder_hidden_states,
            encoder_hidden_states_image,
            encoder_hidden_states_audio if audio_scale else None,
            cached,
        )
        if audio is not None and audio.shape[1] != grid[0]:
            raise ValueError(f"The audio is {audio.shape[1]} latent frames long, the video {grid[0]}.")
        conditions = ModalConditions(
            text,
            image,
            audio,
            *self._weights(modal_weights, face_mask, audio_scale, hidden_states, grid),
            frame_tokens=math.prod(grid[1:]),
            face_tokens=_face_tokens(face_mask) if self.face_tokens_only else None,
            cached=cached,
        )

        def run_blocks(hidden_states: Tensor) -> Tensor:
            for block in self.blocks:
                if torch.is_grad_enabled() and self.gradient_checkpointing:
                    hidden_states = self._gradient_checkpointing_func(
                        block, hidden_states, conditions, timestep_proj, rotary_emb
                    )
                else:
                    hidden_states = block(hidden_states, conditions, timestep_proj, rotary_emb)
            return hidden_states

        if skip_blocks is None:
            hidden_states = run_blocks(hidden_states)
        else:
            hidden_states = skip_blocks(hidden_states, timestep_proj, run_blocks)

        shift, scale = (self.scale_shift_table + temb.unsqueeze(1)).to(hidden_states.device).chunk(2, dim=1)
        hidden_states = (self.norm_out(hidden_states.float()) * (1 + scale) + shift).type_as(hidden_states)
        sample = self._unpatchify(self.proj_out(hidden_states), grid)
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    def _embedded(
        self, text: Tensor, image: Tensor | None, audio: Tensor | None, cached: CachedRows | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Text, image and audio in the transformer's width, from the cache where they are kept."""

        def embed(name: str, module: nn.Module, rows: Tensor) -> Tensor:
            return projected(cached, module, name, rows, lambda rows: (module(rows),))[0]

        embedder = self.condition_embedder
        return (
            embed("text", embedder.text_embedder, text),
            None if image is None else embed("image", embedder.image_embedder, image),
            None if audio is None else embed("audio", self.audio_projector, audio),
        )

    @staticmethod
    def _weights(
        modal_weights: Tensor | None, face_mask: Tensor | None, audio_scale: float, like: Tensor, grid: list[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Weights of text and image [B, 1, 1], and of audio over the tokens of a latent frame, [B, h·w, 1]."""
        if modal_weights is None:
            modal_weights = like.new_ones(like.shape[0], 3)
        text, image, audio = modal_weights.to(like)[:, :, None, None].unbind(1)
        tokens = math.prod(grid[1:])
        audio = (audio * audio_scale).expand(-1, tokens, -1)
        if face_mask is not None:
            if face_mask.shape[1] != tokens:
                raise ValueError(f"The face mask has {face_mask.shape[1]} tokens, a latent frame has {tokens}.")
            audio = audio * face_mask.to(like).unsqueeze(2)
        return text, image, audio

    def _unpatchify(self, tokens: Tensor, grid: list[int]) -> Tensor:
        """[B, T·h·w, p_t·p_h·p_w·C] → [B, C, T·p_t, h·p_h, w·p_w]."""
        patches = tokens.unflatten(2, (*self.config.patch_size, -1)).unflatten(1, grid)
        return patches.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)


def _face_tokens(face_mask: Tensor | None) -> Tensor | None:
    """The tokens of a latent frame where `face_mask` [B, h·w] is not 0, if they are the same in every row; or None."""
    if face_mask is None:
        return None
    faces = face_mask != 0
    return faces[0].nonzero().flatten() if bool((faces == faces[:1]).all()) else None
