"""Coupled-decoupled cross-attention (paper, Eq. 1) and the transformer block that holds it.

One query, shared; text, image and audio each with their own keys and values; the outputs weighted and summed before
the one output projection. Knows nothing about schedules: the weights arrive as numbers, one per sample and modality.
Departure: the face mask and the audio scale are one factor with the weight of audio, since all three only multiply it.
"""

from typing import NamedTuple

import torch.nn.functional as F
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import WanAttention, WanTransformerBlock
from torch import Tensor, nn

from engine.sampling.condition_cache import CachedRows, projected


class ModalConditions(NamedTuple):
    """What every block's cross-attention reads. D is the transformer's width, L = T·h·w its video tokens.

    text [B, Lt, D]; image [B, Li, D] or None; audio [B, T, S, D], one segment per latent frame, or None. Each weight
    multiplies the output of its modality: text_weight and image_weight [B, 1, 1], audio_weight [B, h·w or 1, 1] because
    it carries the face mask too. `face_tokens` [n] are the tokens of a latent frame that audio acts on, where it acts
    on the same ones in every row, else None: those alone are attended to, which changes nothing.
    """

    text: Tensor
    image: Tensor | None
    audio: Tensor | None
    text_weight: Tensor
    image_weight: Tensor
    audio_weight: Tensor
    frame_tokens: int
    """h·w, the tokens of a latent frame."""
    face_tokens: Tensor | None = None
    cached: CachedRows | None = None


class CDCAProcessor:
    """The computation of Eq. 1 on the projections that a `CDCAttention` holds."""

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: "CDCAttention",
        hidden_states: Tensor,
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        rotary_emb: None = None,
        *,
        conditions: ModalConditions,
    ) -> Tensor:
        """`hidden_states` [B, L, D] → [B, L, D]; the three arguments that Wan passes by position do not apply here."""
        heads = (attn.heads, -1)
        cached = conditions.cached
        query = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, heads)

        key, value = projected(cached, attn, "text", conditions.text, attn.text_keys_values)
        text = dispatch_attention_fn(query, key, value, backend=self._attention_backend)
        output = conditions.text_weight * text.flatten(2)

        if conditions.image is not None:
            key, value = projected(cached, attn, "image", conditions.image, attn.image_keys_values)
            image = dispatch_attention_fn(query, key, value, backend=self._attention_backend)
            output = output + conditions.image_weight * image.flatten(2)

        if conditions.audio is not None:
            key, value = projected(cached, attn, "audio", conditions.audio, attn.audio_keys_values)
            output = output + self._audio(query, key, value, conditions)
        return attn.to_out[1](attn.to_out[0](output.type_as(hidden_states)))

    def _audio(self, query: Tensor, key: Tensor, value: Tensor, conditions: ModalConditions) -> Tensor:
        """Each latent frame attends to its own audio segment only; weighted. [B, L, H, d] → [B, L, D].

        A shard of a sequence that several devices share need not be whole frames: it is padded to them.
        """
        length, frame_tokens = query.shape[1], conditions.frame_tokens
        first = self._first_token(frame_tokens * key.shape[1])
        lead = first % frame_tokens
        frames = slice(first // frame_tokens, -(-(first + length) // frame_tokens))
        count = frames.stop - frames.start
        query = F.pad(query, (0, 0, 0, 0, lead, count * frame_tokens - lead - length))
        query = query.unflatten(1, (count, frame_tokens)).flatten(0, 1)
        weight = conditions.audio_weight
        face = conditions.face_tokens
        if face is not None:
            query, weight = query[:, face], weight[:, face]
        # A few dozen keys per frame: the quantised and sparse backends that pay for long sequences lose here.
        attended = dispatch_attention_fn(
            query, key[:, frames].flatten(0, 1), value[:, frames].flatten(0, 1), backend=AttentionBackendName.NATIVE
        )
        output = attended.flatten(2).unflatten(0, (-1, count)) * weight.unsqueeze(1)
        if face is not None:
            everywhere = output.new_zeros(*output.shape[:2], frame_tokens, output.shape[3])
            output = everywhere.index_copy_(2, face, output)
        return output.flatten(1, 2)[:, lead : lead + length]

    def _first_token(self, tokens: int) -> int:
        """Where this device's share of so many tokens begins; all of them are its own if no other takes part."""
        if self._parallel_config is None:
            return 0
        mesh = self._parallel_config.context_parallel_config._flattened_mesh
        share, left = divmod(tokens, mesh.size())
        rank: int = mesh.get_local_rank()
        return rank * share + min(rank, left)


class CDCAttention(WanAttention):
    """Wan's cross-attention with keys and values for audio beside those for text and image."""

    _default_processor_cls = CDCAProcessor
    _available_processors = [CDCAProcessor]  # noqa: RUF012 (the mixin's attribute)

    def __init__(self, dim: int, heads: int, *, eps: float, audio_bias: bool) -> None:
        head_dim = dim // heads
        super().__init__(
            dim=dim,
            heads=heads,
            dim_head=head_dim,
            eps=eps,
            added_kv_proj_dim=dim,
            cross_attention_dim_head=head_dim,
            processor=CDCAProcessor(),
        )
        self.to_k_audio = nn.Linear(dim, dim, bias=audio_bias)
        self.to_v_audio = nn.Linear(dim, dim, bias=audio_bias)
        self.norm_k_audio = nn.RMSNorm(dim, eps=eps)

    def text_keys_values(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Of tokens [B, Lt, D], each [B, Lt, H, d]."""
        heads = (self.heads, -1)
        return self.norm_k(self.to_k(text)).unflatten(2, heads), self.to_v(text).unflatten(2, heads)

    def image_keys_values(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Of tokens [B, Li, D], each [B, Li, H, d]."""
        heads = (self.heads, -1)
        key = self.norm_added_k(self.add_k_proj(image))
        return key.unflatten(2, heads), self.add_v_proj(image).unflatten(2, heads)

    def audio_keys_values(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Of segments [B, T, S, D], each [B, T, S, H, d]."""
        heads = (self.heads, -1)
        key = self.norm_k_audio(self.to_k_audio(audio))
        return key.unflatten(3, heads), self.to_v_audio(audio).unflatten(3, heads)


class EchoMimicBlock(WanTransformerBlock):
    """Wan's block with CDCA for cross-attention."""

    def __init__(
        self, dim: int, ffn_dim: int, heads: int, *, cross_attn_norm: bool, eps: float, audio_bias: bool
    ) -> None:
        super().__init__(dim, ffn_dim, heads, cross_attn_norm=cross_attn_norm, eps=eps)
        self.attn2 = CDCAttention(dim, heads, eps=eps, audio_bias=audio_bias)

    def forward(
        self,
        hidden_states: Tensor,
        conditions: ModalConditions,
        temb: Tensor,
        rotary_emb: tuple[Tensor, Tensor],
    ) -> Tensor:
        """`hidden_states` [B, L, D], `temb` [B, 6, D] (the timestep's shifts, scales and gates) → [B, L, D]."""
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = (self.scale_shift_table + temb.float()).chunk(6, dim=1)

        normed = (self.norm1(hidden_states.float()) * (1 + scale) + shift).type_as(hidden_states)
        attended = self.attn1(normed, None, None, rotary_emb)
        hidden_states = (hidden_states.float() + attended * gate).type_as(hidden_states)

        normed = self.norm2(hidden_states.float()).type_as(hidden_states)
        hidden_states = hidden_states + self.attn2(normed, conditions=conditions)

        normed = (self.norm3(hidden_states.float()) * (1 + ffn_scale) + ffn_shift).type_as(hidden_states)
        return (hidden_states.float() + self.ffn(normed).float() * ffn_gate).type_as(hidden_states)


# diffusers' step caches look blocks up by their exact class.
TransformerBlockRegistry.register(
    EchoMimicBlock,
    TransformerBlockMetadata(return_hidden_states_index=0, return_encoder_hidden_states_index=None),
)
