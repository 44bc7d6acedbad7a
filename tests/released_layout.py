"""A released model of tiny sizes, random weights, in the exact folder layout and key names of the release.

The transformers' names and their proportions come from the parity cases; what the parity cases do not have in common
(text, picture and voice widths) is made to fit. Used where a test goes from a folder to a video.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from engine.contract.variants import SPEECH_ENCODERS, TRANSFORMER_WEIGHTS
from engine.wan.layout import AUTOENCODER_FILE, BASE, IMAGE_FILE, TEXT_FILE, TOKENIZER

TEXT_WIDTH, IMAGE_WIDTH, AUDIO_WIDTH = 32, 80, 48
SPEECH_LAYERS = 2
WORDS = ("<pad>", "</s>", "<unk>", "a", "person", "speaks", "happily", "and", "nods", "frozen", "picture", "blur", ",")


def _resized(state: dict[str, Tensor], prefix: str, sizes: dict[int, int]) -> dict[str, Tensor]:
    """`state` with dimensions of the `sizes` on the left under `prefix` at those on the right instead."""
    random = torch.Generator().manual_seed(0)
    return {
        name: torch.randn([sizes.get(size, size) for size in tensor.shape], generator=random) * 0.1
        if name.startswith(prefix)
        else tensor
        for name, tensor in state.items()
    }


def write_released_model(folder: Path, variant: str, parity: Path) -> Path:
    """Write the model `variant`, preview or flash, into `folder`; `parity` holds the parity cases' weights."""
    base = folder / BASE
    config = json.loads((parity / f"{variant}_config.json").read_text())["config"]
    state = load_file(parity / f"{variant}_weights.safetensors")
    state = _resized(state, "img_emb.", {config["image_dim"]: IMAGE_WIDTH})
    state = _resized(state, "text_embedding.0.weight", {config["tdim"]: TEXT_WIDTH})
    (folder / TRANSFORMER_WEIGHTS).parent.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / TRANSFORMER_WEIGHTS)

    (base / TOKENIZER).mkdir(parents=True)
    (base / "config.json").write_text(json.dumps({"num_heads": config["heads"]}))
    torch.save(load_file(parity / "vae_weights.safetensors"), base / AUTOENCODER_FILE)
    torch.save(load_file(parity / "t5_weights.safetensors"), base / TEXT_FILE)
    image_sizes = {64: IMAGE_WIDTH, 192: 3 * IMAGE_WIDTH}
    torch.save(_resized(load_file(parity / "clip_weights.safetensors"), "visual.", image_sizes), base / IMAGE_FILE)
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(base / TOKENIZER)
    _write_speech_encoder(folder / SPEECH_ENCODERS[variant])
    return folder


def _write_speech_encoder(folder: Path) -> None:
    torch.manual_seed(0)
    Wav2Vec2Model(
        Wav2Vec2Config(
            hidden_size=AUDIO_WIDTH,
            num_hidden_layers=SPEECH_LAYERS,
            num_attention_heads=4,
            intermediate_size=64,
            conv_dim=(32,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
        )
    ).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
