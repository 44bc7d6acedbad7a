import inspect

import pytest
import torch
from diffusers import FirstBlockCacheConfig
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from engine.wan.transformer import EchoMimicTransformer3DModel

SIZES = {"num_attention_heads": 2, "attention_head_dim": 12, "text_dim": 16, "image_dim": 20, "ffn_dim": 32}
LATENT_FRAMES, HEIGHT, WIDTH = 3, 4, 6
VIDEO_FRAMES = 4 * (LATENT_FRAMES - 1) + 1
FRAME_TOKENS = HEIGHT * WIDTH // 4


def awake(model, seed=0):
    """A model as if trained: the parameters that start at zero are random too."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


@pytest.fixture
def build():
    def make(projection="preview", layers=2):
        torch.manual_seed(0)
        return awake(
            EchoMimicTransformer3DModel(
                **SIZES,
                num_layers=layers,
                audio_dim=8,
                audio_projection=projection,
                audio_layers=2,
                audio_intermediate_dim=10,
                audio_context_tokens=3,
            )
        )

    return make


@pytest.fixture
def inputs():
    def make(batch=2, text_tokens=7, image_tokens=5, projection="preview"):
        torch.manual_seed(1)
        audio = (2 * VIDEO_FRAMES, 8) if projection == "preview" else (VIDEO_FRAMES, 5, 2, 8)
        return {
            "hidden_states": torch.randn(batch, 36, LATENT_FRAMES, HEIGHT, WIDTH),
            "timestep": torch.linspace(20, 980, batch),
            "encoder_hidden_states": torch.randn(batch, text_tokens, SIZES["text_dim"]),
            "encoder_hidden_states_image": torch.randn(batch, image_tokens, SIZES["image_dim"]),
            "encoder_hidden_states_audio": torch.randn(batch, *audio),
        }

    return make


@torch.no_grad()
def velocity(model, inputs, **more):
    return model(**inputs | more, return_dict=False)[0]


@torch.no_grad()
def test_without_audio_values_it_is_stock_wan_exactly(build, inputs):
    ours = build()
    for block in ours.blocks:
        block.attn2.to_v_audio.weight.zero_()
    wan = WanTransformer3DModel(
        in_channels=36, added_kv_proj_dim=24, num_layers=2, rope_max_seq_len=1024, **SIZES
    ).eval()
    wan.load_state_dict({name: ours.state_dict()[name] for name in wan.state_dict()})
    given = inputs(text_tokens=512, image_tokens=257)
    stock = {name: tensor for name, tensor in given.items() if name != "encoder_hidden_states_audio"}
    assert torch.equal(velocity(ours, given), velocity(wan, stock))


def test_a_fresh_model_ignores_audio_until_it_has_learnt_to_listen(inputs):
    fresh = EchoMimicTransformer3DModel(**SIZES, num_layers=2, audio_dim=8)
    torch.nn.init.normal_(fresh.proj_out.weight)
    given = inputs()
    silent = {"encoder_hidden_states_audio": torch.zeros(2, 2 * VIDEO_FRAMES, 8)}
    assert torch.equal(velocity(fresh, given), velocity(fresh, given, **silent))


@pytest.mark.parametrize("token", [0, 5, 6, 13, 17])
def test_a_latent_frame_hears_only_its_own_audio_segment(build, inputs, token):
    # One layer: nothing after its audio attention mixes frames, so a change shows where it was heard.
    model, given = build(layers=1), inputs(batch=1)
    audio = given["encoder_hidden_states_audio"].clone()
    audio[:, token] += 1
    change = (velocity(model, given, encoder_hidden_states_audio=audio) - velocity(model, given)).abs()
    heard = [bool(change[:, :, frame].max() > 0) for frame in range(LATENT_FRAMES)]
    assert heard == [8 * frame - 11 <= token <= 8 * frame + 5 for frame in range(LATENT_FRAMES)]


@pytest.mark.parametrize("video_frame", range(VIDEO_FRAMES))
def test_a_flash_latent_frame_hears_its_video_frames_and_two_on_either_side(build, inputs, video_frame):
    model, given = build("flash", layers=1), inputs(batch=1, projection="flash")
    features = torch.randn(1, VIDEO_FRAMES, 2, 8)
    other = features.clone()
    other[:, video_frame] += 1
    around = (torch.arange(VIDEO_FRAMES)[:, None] + torch.arange(-2, 3)).clamp(0, VIDEO_FRAMES - 1)
    first, second = (velocity(model, given, encoder_hidden_states_audio=clip[:, around]) for clip in (features, other))
    heard = [bool((first - second)[:, :, frame].abs().max() > 0) for frame in range(LATENT_FRAMES)]
    spans = [(0, 0), *((4 * frame - 3, 4 * frame) for frame in range(1, LATENT_FRAMES))]
    assert heard == [start - 2 <= video_frame <= stop + 2 for start, stop in spans]


def test_outside_the_face_mask_audio_changes_nothing(build, inputs):
    model, given = build(layers=1), inputs(batch=1)
    mask = torch.zeros(1, FRAME_TOKENS)
    mask[0, 1] = 1
    louder = given["encoder_hidden_states_audio"] + 1
    change = velocity(model, given, face_mask=mask) - velocity(
        model, given, face_mask=mask, encoder_hidden_states_audio=louder
    )
    tokens = change.abs().amax(dim=1).unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(-1, -2)).flatten(2)[0]
    for frame in range(LATENT_FRAMES):
        assert (tokens[frame] > 0).flatten().tolist() == (mask[0] > 0).tolist()


def test_no_audio_weight_no_scale_and_an_empty_mask_are_the_same_silence(build, inputs):
    model, given = build(), inputs()
    silences = [
        velocity(model, given, modal_weights=torch.tensor([[1.0, 1.0, 0.0]]).expand(2, 3)),
        velocity(model, given, audio_scale=0.0),
        velocity(model, given, face_mask=torch.zeros(2, FRAME_TOKENS)),
    ]
    assert torch.equal(silences[0], silences[1])
    assert torch.equal(silences[0], silences[2])
    assert not torch.allclose(silences[0], velocity(model, given), atol=1e-3)


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.5, 3.0])
def test_the_audio_scale_is_a_weight_of_audio(build, inputs, scale):
    model, given = build(), inputs()
    weights = torch.tensor([[1.0, 1.0, scale]]).expand(2, 3)
    torch.testing.assert_close(velocity(model, given, audio_scale=scale), velocity(model, given, modal_weights=weights))
    assert not torch.allclose(velocity(model, given, audio_scale=scale), velocity(model, given), atol=1e-4)


@pytest.mark.parametrize("tokens_only", [True, False])
def test_every_row_has_its_own_face(build, inputs, tokens_only):
    model, given = build(), inputs()
    model.face_tokens_only = tokens_only
    masks = torch.zeros(2, FRAME_TOKENS)
    masks[0, 1], masks[1, 3:5] = 1, 1
    together = velocity(model, given, face_mask=masks)
    for row in range(2):
        alone = {name: tensor[row : row + 1] for name, tensor in given.items()}
        torch.testing.assert_close(together[row : row + 1], velocity(model, alone, face_mask=masks[row : row + 1]))


def test_without_weights_and_mask_everything_weighs_one(build, inputs):
    model, given = build(), inputs()
    explicit = velocity(model, given, modal_weights=torch.ones(2, 3), face_mask=torch.ones(2, FRAME_TOKENS))
    assert torch.equal(velocity(model, given), explicit)


@pytest.mark.parametrize("modality", range(3))
def test_each_modality_has_its_own_weight_and_each_sample_its_own_row(build, inputs, modality):
    model, given = build(), inputs()
    weights = torch.ones(2, 3)
    weights[0, modality] = 0.5
    change = (velocity(model, given, modal_weights=weights) - velocity(model, given)).abs().amax(dim=(1, 2, 3, 4))
    assert change[0] > 1e-3
    assert change[1] == 0


def test_zero_text_weight_makes_the_prompt_irrelevant(build, inputs):
    model, given = build(), inputs()
    weights = torch.tensor([[0.0, 1.0, 1.0]]).expand(2, 3)
    other = velocity(model, given, modal_weights=weights, encoder_hidden_states=torch.randn(2, 9, SIZES["text_dim"]))
    torch.testing.assert_close(velocity(model, given, modal_weights=weights), other)


@pytest.mark.parametrize(("text_tokens", "image_tokens"), [(1, 1), (512, 257), (3, 16)])
def test_any_number_of_text_and_image_tokens(build, inputs, text_tokens, image_tokens):
    shape = velocity(build(), inputs(text_tokens=text_tokens, image_tokens=image_tokens)).shape
    assert shape == (2, 16, LATENT_FRAMES, HEIGHT, WIDTH)


def test_without_a_picture_the_image_attention_is_left_out(build, inputs):
    model, given = build(), inputs()
    unweighted = velocity(model, given, modal_weights=torch.tensor([[1.0, 0.0, 1.0]]).expand(2, 3))
    torch.testing.assert_close(velocity(model, given, encoder_hidden_states_image=None), unweighted)


@pytest.mark.parametrize("projection", ["preview", "flash"])
def test_a_saved_model_comes_back_the_same(build, inputs, projection, tmp_path):
    model, given = build(projection), inputs(projection=projection)
    model.save_pretrained(tmp_path)
    again = EchoMimicTransformer3DModel.from_pretrained(tmp_path)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").is_file()
    assert torch.equal(velocity(again, given), velocity(model, given))


def test_the_config_holds_every_constructor_argument_and_no_other(build):
    arguments = set(inspect.signature(EchoMimicTransformer3DModel.__init__).parameters) - {"self"}
    config = build(layers=1).config
    assert {name for name in config if not name.startswith("_")} == arguments
    assert config.num_layers == 1


@pytest.mark.parametrize("projection", ["preview", "flash"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_parameter(build, inputs, projection, checkpointing):
    model = build(projection).train()
    if checkpointing:
        model.enable_gradient_checkpointing()
    model(**inputs(projection=projection)).sample.square().mean().backward()
    # A bias of the keys shifts all scores of a query alike, but the key norm behind it makes it matter here too.
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.abs().sum() > 0] == []


def test_it_runs_in_bfloat16(build, inputs):
    model, given = build(), inputs()
    half = {name: tensor.bfloat16() if name != "timestep" else tensor for name, tensor in given.items()}
    expected, ours = velocity(model, given), velocity(model.to(torch.bfloat16), half, face_mask=torch.ones(2, 6))
    assert ours.dtype == torch.bfloat16
    assert (ours - expected).norm() < 0.1 * expected.norm()


def test_audio_of_another_length_is_refused(build, inputs):
    with pytest.raises(ValueError, match="2 latent frames long, the video 3"):
        velocity(build(), inputs(), encoder_hidden_states_audio=torch.zeros(2, 10, 8))
    with pytest.raises(ValueError, match=r"4n \+ 1; got 8, try 9"):
        velocity(build(), inputs(), encoder_hidden_states_audio=torch.zeros(2, 16, 8))


def test_a_face_mask_of_another_grid_is_refused(build, inputs):
    with pytest.raises(ValueError, match="5 tokens, a latent frame has 6"):
        velocity(build(), inputs(), face_mask=torch.ones(2, 5))


def test_a_step_cache_skips_blocks_without_mixing_up_the_branches(build, inputs):
    model, given = build(layers=3), inputs()
    silent = given | {"encoder_hidden_states_audio": torch.zeros_like(given["encoder_hidden_states_audio"])}
    model.enable_cache(FirstBlockCacheConfig(threshold=1e9))
    calls = []
    model.blocks[1].attn1.register_forward_hook(lambda *_: calls.append(1))

    def branches():
        with model.cache_context("audio"):
            heard = velocity(model, given)
        with model.cache_context("silent"):
            return heard, velocity(model, silent)

    first, second = branches(), branches()
    assert len(calls) == 2
    for before, after in zip(first, second, strict=True):
        torch.testing.assert_close(before, after)
    assert not torch.allclose(*second, atol=1e-3)


def test_diffusers_knows_the_block_that_repeats(build):
    blocks = {type(module).__name__ for module in build().modules()}
    assert {*EchoMimicTransformer3DModel._repeated_blocks, *EchoMimicTransformer3DModel._no_split_modules} <= blocks
