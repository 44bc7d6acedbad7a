"""Every common picture arrives as upright 8-bit RGB; every unusable one is refused in one sentence."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from engine.contract.errors import UserError
from engine.media.picture import even_size, read_picture

# A smooth picture with three distinct colours, so that lossy formats keep it and a rotation or channel swap shows.
ROWS, COLUMNS = np.mgrid[0:96, 0:128]
PICTURE = np.stack([60 + ROWS, 40 + COLUMNS, 200 - ROWS], axis=-1).astype(np.uint8)


def refusal(path: Path, **limits: int) -> str:
    with pytest.raises(UserError) as refused:
        read_picture(path, field="last_image", **limits)
    assert refused.value.field == "last_image"
    assert "\n" not in refused.value.message
    return refused.value.message


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "heic", "tiff", "bmp"])
def test_common_formats_keep_the_colours(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(PICTURE).save(path, quality=95)
    picture = read_picture(path)
    assert picture.dtype == np.uint8 and picture.shape == PICTURE.shape
    assert np.abs(picture.astype(int) - PICTURE).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int) -> None:
    stored = {
        1: PICTURE,
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.transpose(1, 0, 2),
        6: np.rot90(PICTURE, 1),
        7: PICTURE[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(PICTURE, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "rotated.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    np.testing.assert_array_equal(read_picture(path), PICTURE)


def test_transparency_becomes_white(tmp_path: Path) -> None:
    alpha = np.where(COLUMNS < 64, 0, 255).astype(np.uint8)[..., None]
    path = tmp_path / "cutout.png"
    Image.fromarray(np.concatenate([PICTURE, alpha], axis=-1)).save(path)
    picture = read_picture(path)
    assert (picture[:, :64] == 255).all()
    np.testing.assert_array_equal(picture[:, 64:], PICTURE[:, 64:])


def test_palette_with_a_transparent_colour_becomes_white(tmp_path: Path) -> None:
    image = Image.new("P", (64, 64), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.paste(0, (0, 0, 32, 64))
    path = tmp_path / "palette.gif"
    image.save(path, transparency=0)
    picture = read_picture(path)
    assert (picture[:, :32] == 255).all() and (picture[:, 32:] == (10, 20, 30)).all()


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.fromarray(PICTURE[..., 0]).save(path)
    np.testing.assert_array_equal(read_picture(path), np.repeat(PICTURE[..., :1], 3, axis=-1))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_not_cut(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 257).save(path)
    np.testing.assert_array_equal(read_picture(path)[..., 0], PICTURE[..., 0])


def test_cmyk_keeps_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.fromarray(PICTURE).convert("CMYK").save(path, quality=95)
    assert np.abs(read_picture(path).astype(int) - PICTURE).mean() < 3


def test_a_colour_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    in_lab = ImageCms.profileToProfile(Image.fromarray(PICTURE), srgb, lab, outputMode="LAB")
    path = tmp_path / "lab.tiff"
    in_lab.save(path, icc_profile=ImageCms.ImageCmsProfile(lab).tobytes())
    assert np.abs(read_picture(path).astype(int) - PICTURE).mean() < 3


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tagged.png"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(PICTURE).save(path, icc_profile=profile)
    np.testing.assert_array_equal(read_picture(path), PICTURE)


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "animation.webp"
    frames = [Image.fromarray(frame) for frame in (PICTURE, 255 - PICTURE)]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(read_picture(path), PICTURE)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "heic", "tiff", "bmp"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.95])
def test_a_truncated_picture_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, {"jpg": "JPEG", "heic": "HEIF"}.get(suffix, suffix))
    path = tmp_path / f"truncated.{suffix}"
    path.write_bytes(file.getvalue()[: int(len(file.getvalue()) * kept)])
    assert path.name in refusal(path)


def test_a_text_file_renamed_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "letter.png"
    path.write_text("Dear reader,")
    assert "not a picture" in refusal(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    assert "not a picture" in refusal(path)


def test_a_missing_path_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nobody.png")
    assert "folder" in refusal(tmp_path)


def test_one_pixel_is_refused_with_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1)).save(path)
    assert "1 × 1 px" in refusal(path) and "64 px" in refusal(path)


@pytest.mark.parametrize("size", [(20_000, 100), (20_000, 5_000), (20_000, 20_000)])
def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    # The header alone tells the size: with the pixel data cut off, decoding would give another message.
    path = tmp_path / "huge.png"
    small = io.BytesIO()
    Image.new("L", (64, 64)).save(small, "png")
    header = bytearray(small.getvalue()[:33])
    header[16:24] = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big")
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    path.write_bytes(bytes(header) + small.getvalue()[33:])
    assert f"{size[0]} × {size[1]} px; at most 8192 px a side" in refusal(path)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_known_white_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "scientific.tiff"
    Image.new(mode, (64, 64), 1).save(path)
    assert "32-bit" in refusal(path)


def test_only_an_odd_last_row_or_column_is_replicated() -> None:
    odd = PICTURE[:95, :127]
    even = even_size(odd)
    assert even.shape == (96, 128, 3)
    np.testing.assert_array_equal(even[:95, :127], odd)
    np.testing.assert_array_equal(even[95, :127], odd[94])
    np.testing.assert_array_equal(even[:, 127], even[:, 126])
    np.testing.assert_array_equal(even_size(PICTURE), PICTURE)
