from pathlib import Path

import pyarrow.parquet
import pytest
import torch
import webdataset

from engine.contract.errors import UserError
from trainer.data.shards import MANIFEST, Shards, write_manifest, write_shard

GROUPS = ("audio", "latents")


def tensors(number: int, group: str) -> dict[str, torch.Tensor]:
    return {group: torch.full((2, 3), float(number)).half(), "frame": torch.arange(number + 1)}


def written(folder: Path, clips: int = 5, per_shard: int = 2) -> Path:
    rows = [{"id": f"{n}.mp4", "key": f"{n:016x}", "status": "accepted", "frames": 9} for n in range(clips)]
    shards = {
        group: [
            write_shard(folder, group, start // per_shard, [(rows[n]["key"], tensors(n, group)) for n in part])
            for start in range(0, clips, per_shard)
            for part in [range(start, min(clips, start + per_shard))]
        ]
        for group in GROUPS
    }
    rejected = {"id": "x.mp4", "key": "f" * 16, "status": "rejected", "reason": "dark"}
    write_manifest(folder, [*rows, rejected], shards, {"model": "nano"})
    return folder


def test_every_clip_comes_back_from_its_number(tmp_path: Path):
    shards = Shards(written(tmp_path))
    assert len(shards) == 5 and shards.groups == GROUPS and shards.about == {"model": "nano"}
    for number in range(5):
        clip = shards.clip(number)
        assert shards.rows[number]["id"] == f"{number}.mp4"
        for group in GROUPS:
            for name, tensor in tensors(number, group).items():
                assert torch.equal(clip[group][name], tensor)
    shards.check()


def test_rejected_rows_are_in_the_manifest_and_not_among_the_clips(tmp_path: Path):
    table = pyarrow.parquet.read_table(written(tmp_path) / MANIFEST).to_pylist()
    assert [row["reason"] for row in table if row["status"] == "rejected"] == ["dark"]
    assert len(table) == 6


def test_webdataset_streams_a_group_in_the_manifests_order(tmp_path: Path):
    written(tmp_path)
    urls = [str(path) for path in sorted((tmp_path / "latents").glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{n:016x}" for n in range(5)]
    from safetensors.torch import load

    assert float(load(samples[3]["safetensors"])["latents"][0, 0]) == 3.0


def test_the_same_clips_give_the_same_bytes(tmp_path: Path):
    one, other = written(tmp_path / "one"), written(tmp_path / "other")
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(files) == 7
    assert all((one / file).read_bytes() == (other / file).read_bytes() for file in files)


def test_a_single_flipped_bit_of_a_clip_is_found_when_it_is_read(tmp_path: Path):
    shards = Shards(written(tmp_path))
    path, place = tmp_path / "audio" / "000001.tar", shards.rows[2]["in_audio"]
    data = bytearray(path.read_bytes())
    data[place["offset"] + place["size"] - 1] ^= 1
    path.write_bytes(data)
    shards.clip(3)
    with pytest.raises(UserError, match=r"000001\.tar does not match the manifest: clip 2\.mp4.*Delete the shard"):
        shards.clip(2)
    with pytest.raises(UserError, match="SHA-256"):
        shards.check()


def test_a_shard_that_is_cut_off_missing_or_of_another_run_is_refused_at_once(tmp_path: Path):
    path = written(tmp_path) / "latents" / "000002.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(UserError, match="bytes, the manifest says"):
        Shards(tmp_path)
    assert len(Shards(tmp_path, ["audio"])) == 5
    path.unlink()
    with pytest.raises(UserError, match="is missing"):
        Shards(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"PAR1 not parquet PAR1", None])
def test_a_manifest_that_is_damaged_or_missing_is_refused(tmp_path: Path, damage: bytes | None):
    path = written(tmp_path) / MANIFEST
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(UserError, match="manifest"):
        Shards(tmp_path)


def test_a_manifest_of_another_kind_is_refused(tmp_path: Path):
    pyarrow.parquet.write_table(pyarrow.table({"x": [1]}), tmp_path / MANIFEST)
    with pytest.raises(UserError, match="no manifest of ours"):
        Shards(tmp_path)


def test_a_group_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="holds no face_motion; it holds audio, latents"):
        Shards(written(tmp_path), ["face_motion"])
