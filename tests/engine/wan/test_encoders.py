import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from engine.contract.errors import UserError
from engine.wan import checkpoints
from engine.wan.encoders import AudioEncoder, ImageEncoder, TextEncoder

FOLDER = Path(os.environ.get("ECHOMIMIC_PARITY") or Path(__file__).parents[2] / "parity" / "data")
WORDS = ("<pad>", "</s>", "<unk>", "a", "person", "speaks", "happily", "and", "nods")
CLIP = CLIPVisionConfig(
    hidden_size=64,
    intermediate_size=256,
    num_hidden_layers=4,
    num_attention_heads=4,
    image_size=28,
    patch_size=14,
    hidden_act="gelu",
)


@pytest.fixture(scope="module")
def text_encoder(tmp_path_factory):
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder = tmp_path_factory.mktemp("umt5")
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return TextEncoder.load(FOLDER / "t5_weights.safetensors", folder)


@pytest.fixture(scope="module")
def image_encoder():
    weights = FOLDER / "clip_weights.safetensors"
    return ImageEncoder(checkpoints.load(lambda _: CLIPVisionModel(CLIP), checkpoints.IMAGE_ENCODER, weights))


@pytest.fixture(scope="module")
def speech_folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("wav2vec2")
    Wav2Vec2Model(
        Wav2Vec2Config(
            hidden_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=64,
            conv_dim=(32,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
        )
    ).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def audio_encoder(speech_folder):
    return AudioEncoder.load(speech_folder)


def speech(seconds, seed=0):
    times = np.arange(int(16_000 * seconds)) / 16_000
    noise = np.random.default_rng(seed).normal(0, 0.01, len(times))
    return (0.3 * np.sin(2 * np.pi * 200 * times) * np.sin(2 * np.pi * 3 * times) + noise).astype(np.float32)


def test_a_prompt_is_zero_padded_behind_its_end_mark(text_encoder):
    states = text_encoder.encode(["a person speaks", "a person speaks happily and nods"])
    assert states.shape == (2, 512, 32)
    lengths = (states.abs().sum(2) > 0).sum(1)
    assert lengths.tolist() == [4, 7]
    assert not states[0, 4:].any()


def test_a_prompt_does_not_depend_on_its_neighbours(text_encoder):
    together = text_encoder.encode(["a person", "a person speaks happily and nods"])
    torch.testing.assert_close(together[:1], text_encoder.encode(["a person"]), atol=1e-5, rtol=0)


def test_the_empty_prompt_is_an_end_mark_alone(text_encoder):
    assert (text_encoder.encode([""]).abs().sum(2) > 0).sum() == 1


def test_a_prompt_that_is_too_long_is_refused_not_cut(text_encoder):
    assert text_encoder.encode(["nods " * 511]).shape == (1, 512, 32)
    with pytest.raises(UserError, match="513 tokens; the limit is 512") as refused:
        text_encoder.encode(["nods " * 512])
    assert refused.value.field == "prompt"


def test_a_missing_tokenizer_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no tokenizer_config\.json"):
        TextEncoder.load(FOLDER / "t5_weights.safetensors", tmp_path)


@pytest.mark.parametrize("size", [(28, 28), (90, 50), (1, 300)])
def test_a_picture_of_any_shape_becomes_all_of_clips_tokens(image_encoder, size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert image_encoder.encode(picture).shape == (1, 5, 64)


def test_a_picture_is_normalised_with_clips_own_statistics(image_encoder):
    mean, std = torch.tensor([[0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]])
    colour = torch.tensor([200.0, 100.0, 50.0])
    expected = image_encoder.states(((colour / 255 - mean) / std)[None, :, None, None].expand(1, 3, 28, 28))
    picture = np.broadcast_to(colour.numpy().astype(np.uint8), (40, 30, 3))
    torch.testing.assert_close(image_encoder.encode(picture), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("video_frames", [1, 5, 25, 41])
def test_preview_features_are_two_per_video_frame(audio_encoder, video_frames):
    assert audio_encoder.token_features(speech(video_frames / 25), video_frames).shape == (1, 2 * video_frames, 48)


def test_preview_features_are_the_last_layer_of_transformers_own_model(audio_encoder):
    clip = speech(1.0)
    values = audio_encoder.extractor(np.pad(clip, (0, 80)), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.no_grad():
        expected = audio_encoder.model(values).last_hidden_state
    assert torch.equal(audio_encoder.token_features(clip, 25), expected)


@pytest.mark.parametrize("video_frames", [1, 5, 25, 41])
def test_flash_windows_hold_every_layer_of_a_frame_and_its_neighbours(audio_encoder, video_frames):
    windows = audio_encoder.layer_windows(speech(video_frames / 25), video_frames)
    assert windows.shape == (1, video_frames, 5, 3, 48)
    for frame in range(video_frames):
        for place in range(5):
            neighbour = min(max(frame + place - 2, 0), video_frames - 1)
            assert torch.equal(windows[0, frame, place], windows[0, neighbour, 2])


def test_flash_layers_are_those_that_transformers_reports(audio_encoder):
    def stretch(_layer, _inputs, features):
        return torch.nn.functional.interpolate(features, size=13, mode="linear", align_corners=True)

    clip, model = speech(0.52), audio_encoder.model
    values = audio_encoder.extractor(clip, sampling_rate=16_000, return_tensors="pt").input_values
    hook = model.feature_extractor.register_forward_hook(stretch)
    with torch.no_grad():
        reported = model(values, output_hidden_states=True).hidden_states
    hook.remove()
    windows = audio_encoder.layer_windows(clip, 13)
    for layer in range(3):
        assert torch.equal(windows[0, :, 2, layer], reported[layer + 1][0])


def test_audio_shorter_than_the_video_is_followed_by_silence(audio_encoder):
    clip = speech(0.6)
    padded = np.pad(clip, (0, 16_000))
    assert torch.equal(audio_encoder.token_features(clip, 25), audio_encoder.token_features(padded, 25))


def test_recorded_silence_is_encoded_like_any_audio(audio_encoder):
    silence = np.zeros(16_000, np.float32)
    assert audio_encoder.token_features(silence, 25).isfinite().all()
    assert audio_encoder.layer_windows(silence, 25).isfinite().all()


def test_features_that_never_change_are_caught(speech_folder):
    encoder = AudioEncoder.load(speech_folder)
    for parameter in encoder.model.parameters():
        parameter.data.zero_()
    with pytest.raises(AssertionError, match="constant features"):
        encoder.layer_windows(speech(1.0), 25)


def test_a_speech_encoder_with_a_tensor_missing_is_refused(speech_folder, tmp_path):
    model = Wav2Vec2Model.from_pretrained(speech_folder)
    state = model.state_dict()
    del state["encoder.layers.1.feed_forward.output_dense.weight"]
    model.save_pretrained(tmp_path, state_dict=state)
    Wav2Vec2FeatureExtractor.from_pretrained(speech_folder).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"output_dense.weight is missing"):
        AudioEncoder.load(tmp_path)


def test_an_incomplete_speech_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json"):
        AudioEncoder.load(tmp_path)
