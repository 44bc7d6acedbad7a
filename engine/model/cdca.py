"""Coupled-decoupled cross-attention (paper, Eq. 1) and the transformer block that holds it.

One query, shared; text, image and audio each with their own keys and values; the outputs weighted and summed before
the one output projection. Knows nothing about schedules: the weights arrive as numbers, one per sample and modality.
Departure: the face mask and the audio scale are one factor with the weight of audio, since all three only multiply it.
"""

from typing import NamedTuple

from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import WanAttention, WanTransformerBlock
from torch import Tensor, nn


class ModalConditions(NamedTuple):
    """What every block's cross-attention reads. D is the transformer's width, L = T·h·w its video tokens.

    text [B, Lt, D]; image [B, Li, D] or None; audio [B, T, S, D], one segment per latent frame. Each weight multiplies
    the output of its modality: text_weight and image_weight [B, 1, 1], audio_weight [B, L or 1, 1] because it carries
    the face mask too.
    """

    text: Tensor
    image: Tensor | None
    audio: Tensor
    text_weight: Tensor
    image_weight: Tensor
    audio_weight: Tensor


class CDCAProcessor:
    """The computation of Eq. 1 on the projections that a `CDCAttention` holds."""

    _attention_backend = None

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
        query = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, heads)

        key = attn.norm_k(attn.to_k(conditions.text)).unflatten(2, heads)
        value = attn.to_v(conditions.text).unflatten(2, heads)
        text = dispatch_attention_fn(query, key, value, backend=self._attention_backend)
        output = conditions.text_weight * text.flatten(2)

        if conditions.image is not None:
            key = attn.norm_added_k(attn.add_k_proj(conditions.image)).unflatten(2, heads)
            value = attn.add_v_proj(conditions.image).unflatten(2, heads)
            image = dispatch_attention_fn(query, key, value, backend=self._attention_backend)
            output = output + conditions.image_weight * image.flatten(2)

        output = output + conditions.audio_weight * self._audio(attn, query, conditions.audio)
        return attn.to_out[1](attn.to_out[0](output.type_as(hidden_states)))

    def _audio(self, attn: "CDCAttention", query: Tensor, audio: Tensor) -> Tensor:
        """Each latent frame attends to its own audio segment only. Returns [B, L, D]."""
        latent_frames = audio.shape[1]
        heads = (attn.heads, -1)
        query = query.unflatten(1, (latent_frames, -1)).flatten(0, 1)
        segments = audio.flatten(0, 1)
        key = attn.norm_k_audio(attn.to_k_audio(segments)).unflatten(2, heads)
        value = attn.to_v_audio(segments).unflatten(2, heads)
        # A few dozen keys per frame: the quantised and sparse backends that pay for long sequences lose here.
        output = dispatch_attention_fn(query, key, value, backend=AttentionBackendName.NATIVE)
        return output.unflatten(0, (-1, latent_frames)).flatten(1, 2).flatten(2)


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
