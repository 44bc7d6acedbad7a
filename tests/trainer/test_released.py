"""SFT of the released geometry from shards: what a batch tells, and a tiny run from a folder to a folder."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.contract.errors import UserError
from engine.contract.variants import TRANSFORMER_WEIGHTS, find_variant
from engine.sampling.tasks import to_video_frames
from engine.wan.animator import PixelAnimator
from tests.released_layout import AUDIO_WIDTH, IMAGE_WIDTH, TEXT_WIDTH, write_released_model
from trainer.data.shards import Shards, write_manifest, write_shard
from trainer.data.tasks import FIRST_LAST_FRAME, IMAGE_TO_VIDEO, LIP_SYNC, MAX_LATENT_FRAMES, TEXT_TO_VIDEO
from trainer.loop.flow import flow_loss, predict
from trainer.loop.recipes import released_soup
from trainer.objectives import sft
from trainer.subjects.released import TEXT_TOKENS, ReleasedBatches, ReleasedVelocity, known_of, possible
from trainer.subjects.released_subject import LORA_FILE, ReleasedSubject

PARITY = Path(os.environ.get("ECHOMIMIC_PARITY") or Path(__file__).parents[1] / "parity" / "data")
T, SIDE, WIDTH = 3, 4, 12
FRAMES = to_video_frames(T)


def features(
    seed: int, text: int = 24, image: int = 20, audio: int = 16, layers: int = 0
) -> dict[str, dict[str, torch.Tensor]]:
    """Of one clip; of flash's with its `layers` of the voice."""
    random = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random).half()

    generate = torch.zeros(FRAMES, SIDE // 2, SIDE // 2, dtype=torch.uint8)
    generate[:, 1] = 1
    return {
        "latents": {"latents": noise(16, T, SIDE, SIDE)},
        "i2v": {"masked_latents": noise(16, T, SIDE, SIDE)},
        "lip": {"masked_latents": noise(16, T, SIDE, SIDE), "generate": generate},
        "text": {"text": noise(5, text)},
        "image": {"image": noise(7, image), "face_mask": torch.ones(SIDE * SIDE // 4)},
        "audio": {"audio": noise(FRAMES, layers, audio) if layers else noise(2 * FRAMES, audio)},
    }


def write_shards(folder: Path, first: int = 0, **widths: int) -> Shards:
    clips = {f"{number:04d}": features(number, **widths) for number in range(first, first + 3)}
    groups = {
        group: [write_shard(folder, group, 0, [(key, clip[group]) for key, clip in clips.items()])]
        for group in features(0)
    }
    rows = [
        {"key": key, "id": key, "status": "accepted", "frames": FRAMES, "height_px": 32, "width_px": 32}
        for key in clips
    ]
    write_manifest(folder, rows, groups, {})
    return Shards(folder)


@pytest.fixture
def shards(tmp_path) -> Shards:
    return write_shards(tmp_path)


def only(task: str):
    recipe = released_soup((5, 5, 5))
    return replace(recipe, stages=tuple(replace(stage, tasks={task: 1.0}) for stage in recipe.stages))


def test_a_process_draws_its_part_of_the_very_batch(shards):
    recipe = possible(released_soup((5, 5, 5)), shards.groups)
    batches = ReleasedBatches(recipe, shards, "preview", batch=4)
    whole, parts = batches.draw(3), [batches.draw(3, number, 2) for number in range(2)]
    for name in ("x0", "eps", "sigma"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
    for name, tensor in whole.conditions.items():
        assert torch.equal(tensor, torch.cat([part.conditions[name] for part in parts])), name
    assert not torch.equal(whole.eps, batches.draw(4).eps)


@pytest.mark.parametrize(("task", "first", "later"), [(IMAGE_TO_VIDEO, 1.0, 0.0), (TEXT_TO_VIDEO, 0.0, 0.0)])
def test_masks_say_what_is_known(task, first, later, shards):
    known = ReleasedBatches(only(task), shards, "preview", batch=2).draw(0).conditions["known"]
    assert known.shape == (2, 20, T, SIDE, SIDE)
    assert bool((known[:, :4, 0] == first).all()) and bool((known[:, :4, 1:] == later).all())


def test_lip_sync_generates_the_box_on_the_token_grid(shards):
    known = ReleasedBatches(only(LIP_SYNC), shards, "preview", batch=1).draw(0).conditions["known"]
    assert known[0, 0, 1].tolist() == [[1.0] * SIDE] * 2 + [[0.0] * SIDE] * 2


def test_without_its_masked_latents_first_last_frame_leaves_its_share_to_the_others(shards):
    recipe = possible(released_soup(), shards.groups)
    for stage in recipe.stages:
        assert FIRST_LAST_FRAME not in stage.tasks
        assert sum(stage.tasks.values()) == pytest.approx(1)
    assert possible(released_soup(), (*shards.groups, "first_last")) == released_soup()


def test_first_last_frame_knows_the_first_frame_and_the_last_of_the_last_latent():
    clip = features(0)
    clip["first_last"] = {"ending": clip["lip"]["masked_latents"][:, -1:]}
    known = known_of(clip, FIRST_LAST_FRAME, clip["latents"]["latents"].float()[None], torch.Generator())
    assert known[0, :4, :, 0, 0].T.tolist() == [[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert torch.equal(known[0, 4:, :-1], clip["i2v"]["masked_latents"][:, :-1].float())
    assert torch.equal(known[0, 4:, -1:], clip["first_last"]["ending"].float())


def test_the_transformer_takes_what_a_batch_holds(shards):
    from engine.wan.transformer import EchoMimicTransformer3DModel

    torch.manual_seed(0)
    sizes = {"num_attention_heads": 1, "attention_head_dim": WIDTH, "ffn_dim": 16, "num_layers": 1, "freq_dim": 16}
    model = EchoMimicTransformer3DModel(**sizes, text_dim=24, image_dim=20, audio_dim=16)
    batch = ReleasedBatches(possible(released_soup(), shards.groups), shards, "preview", batch=2).draw(0)
    assert batch.conditions["text"].shape == (2, TEXT_TOKENS, 24) and batch.x0.shape[2] <= MAX_LATENT_FRAMES
    loss = flow_loss(predict(ReleasedVelocity(model), batch), batch, torch.ones(()))
    loss.backward()
    assert torch.isfinite(loss) and model.proj_out.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("lora", [0, 2])
def test_a_run_goes_from_a_released_folder_to_one_that_loads(lora, tmp_path):
    folder = write_released_model(tmp_path / "preview", "preview", PARITY)
    write_shards(tmp_path / "data", text=TEXT_WIDTH, image=IMAGE_WIDTH, audio=AUDIO_WIDTH)
    subject = ReleasedSubject(find_variant(str(folder)), tmp_path / "data", batch=2, checkpointing=True)
    made = sft.train(replace(released_soup((1, 1, 1)), warmup_steps=1), subject, tmp_path / "run", lora_rank=lora)
    before, after = (load_file(model / TRANSFORMER_WEIGHTS) for model in (folder, made))
    assert {name: tensor.shape for name, tensor in before.items()} == {n: t.shape for n, t in after.items()}
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed and (not lora or all(name.startswith("blocks.") for name in changed))
    assert (made / LORA_FILE).exists() == bool(lora)
    PixelAnimator(made, "preview", torch.float32, torch.device("cpu"))


def test_a_shard_that_is_damaged_under_way_is_said_and_the_last_good_model_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sft, "CHECKPOINT_EVERY", 1)
    folder = write_released_model(tmp_path / "preview", "preview", PARITY)
    data = tmp_path / "data"
    write_shards(data, text=TEXT_WIDTH, image=IMAGE_WIDTH, audio=AUDIO_WIDTH)
    subject = ReleasedSubject(find_variant(str(folder)), data, batch=2)
    recipe = replace(released_soup((1, 1, 2)), warmup_steps=1)
    shard = data / "text" / "000000.tar"
    whole = shard.read_bytes()
    sft.train(recipe, subject, tmp_path / "run", lora_rank=2, stop_after=1)
    good = load_file(tmp_path / "run" / "model" / LORA_FILE)
    shard.write_bytes(bytes(len(whole)))
    with pytest.raises(UserError, match=rf"{shard} does not match.*last good model is {tmp_path / 'run' / 'model'}"):
        sft.train(recipe, subject, tmp_path / "run", lora_rank=2)
    kept = load_file(tmp_path / "run" / "model" / LORA_FILE)
    assert all(torch.equal(good[name], kept[name]) for name in good)
    shard.write_bytes(whole)
    opened = Shards(data)
    shard.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        opened.clip(0)


def test_what_is_refused_leaves_the_run_to_be_put_right(tmp_path):
    folder = write_released_model(tmp_path / "preview", "preview", PARITY)
    write_manifest(tmp_path / "data", [{"key": "0", "id": "0", "status": "rejected"}], {"latents": []}, {})
    subject = ReleasedSubject(find_variant(str(folder)), tmp_path / "data", batch=2)
    with pytest.raises(UserError, match="no clip"):
        sft.train(released_soup(), subject, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_shards_without_a_clip_are_refused(tmp_path):
    write_manifest(tmp_path, [{"key": "0", "id": "0", "status": "rejected"}], {"latents": []}, {})
    with pytest.raises(UserError, match="no clip"):
        ReleasedBatches(released_soup(), Shards(tmp_path), "preview", batch=1)
