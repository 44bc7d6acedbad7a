"""The model to compare with: stock diffusers Wan blocks, the audio branch added the obvious way.

Every step embeds text, picture and voice anew and projects their keys and values in every block; audio attends over
every token and the face mask multiplies the result; each guidance branch is a forward of its own. Same weights, same
output as ours.
"""

from typing import Any

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from torch import Tensor, nn

from engine.wan.transformer import EchoMimicTransformer3DModel


class NaiveAudioProcessor(WanAttnProcessor):
    """Stock cross-attention over picture and text, then audio, one latent frame after the other."""

    def __init__(self, audio_attention: nn.Module) -> None:
        super().__init__()
        self.audio_attention = audio_attention
        self.audio = torch.empty(0)
        self.face_mask = torch.empty(0)

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: Any = None,
    ) -> Tensor:
        """The stock sum of text and picture, plus audio; the output projection is applied once, behind both."""
        out, attn.to_out = attn.to_out, nn.ModuleList([nn.Identity(), nn.Identity()])
        seen = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        attn.to_out = out
        heard = self.audio_attention
        query = attn.norm_q(attn.to_q(hidden_states))
        frames = self.audio.shape[1]
        parts = []
        for frame, part in enumerate(query.chunk(frames, dim=1)):
            segment = self.audio[:, frame]
            key = heard.norm_k_audio(heard.to_k_audio(segment))
            value = heard.to_v_audio(segment)
            split = [x.unflatten(2, (attn.heads, -1)).transpose(1, 2) for x in (part, key, value)]
            parts.append(torch.nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))
        audio = torch.cat(parts, dim=1) * self.face_mask.repeat(1, frames)[:, :, None]
        return attn.to_out[1](attn.to_out[0](seen + audio))


class NaiveModel(nn.Module):
    """Stock Wan with the weights of `ours`."""

    def __init__(self, ours: EchoMimicTransformer3DModel) -> None:
        super().__init__()
        config = {key: ours.config[key] for key in ("patch_size", "num_attention_heads", "attention_head_dim")}
        names = ("in_channels", "out_channels", "text_dim", "freq_dim", "ffn_dim", "num_layers", "image_dim")
        dim = ours.config.num_attention_heads * ours.config.attention_head_dim
        self.wan = WanTransformer3DModel(
            **config, **{name: ours.config[name] for name in names}, added_kv_proj_dim=dim, cross_attn_norm=True
        )
        self.wan.load_state_dict(ours.state_dict(), strict=False)
        self.audio_projector = ours.audio_projector
        self.processors = [NaiveAudioProcessor(block.attn2) for block in ours.blocks]
        for block, processor in zip(self.wan.blocks, self.processors, strict=True):
            block.attn2.set_processor(processor)

    def forward(self, given: dict[str, Tensor]) -> Tensor:
        """One branch's velocity from the inputs of `goals.engine.step.inputs`, one row of each."""
        segments = self.audio_projector(given["audio"])
        for processor in self.processors:
            processor.audio, processor.face_mask = segments, given["face_mask"]
        velocity: Tensor = self.wan(
            given["hidden_states"], given["timestep"], given["text"], given["image"], return_dict=False
        )[0]
        return velocity
