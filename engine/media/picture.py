"""Read any common picture as upright 8-bit RGB, or say in one sentence why it cannot be used.

Knows nothing about faces, models or video, except that H.264 wants even sides (`even_size`).
Pictures are uint8 arrays [H, W, 3] in sRGB; EXIF rotation is already applied, so nothing downstream thinks of it again.
"""

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from engine.contract.errors import UserError

pillow_heif.register_heif_opener()
# The size is checked here, before anything is decoded, against our own limit and with our own words.
Image.MAX_IMAGE_PIXELS = None

# A whitelist: some of Pillow's other formats start programs or follow references to further files.
FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF", "BMP", "GIF", "PPM")
FORMATS_FOR_PEOPLE = "jpg, png, webp, heic, tiff, bmp or gif"
BACKGROUND = (255, 255, 255)


def read_picture(
    path: str | Path, *, field: str = "image", max_side_px: int = 8192, min_side_px: int = 64
) -> np.ndarray:
    """The picture as uint8 RGB [H, W, 3], EXIF rotation applied, in sRGB.

    Transparency is flattened on white; 16-bit values are scaled to 8 bits; of an animation the first frame is taken;
    an embedded colour profile is converted to sRGB. The sides are checked before anything is decoded.
    Raises `UserError(field)` for a path that is missing or no picture, a truncated or damaged file, a side below
    `min_side_px` or above `max_side_px`, and 32-bit or floating-point pixels, whose white point is not known.
    """
    path = Path(path)
    if not os.path.exists(path):  # also where the name is too long to ask for
        raise UserError(f"The picture {path} does not exist; check the path.", field)
    if not path.is_file():
        raise UserError(f"{path} is a folder, not a picture; give the path of a {FORMATS_FOR_PEOPLE} file.", field)
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check_size(path, image.size, field, min_side_px, max_side_px)
            image.load()
            return np.array(_to_rgb(_upright(image), path, field))
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(
            f"{path.name} is not a picture that can be read; use a {FORMATS_FOR_PEOPLE} file.", field
        ) from None
    except PermissionError:
        raise UserError(f"{path} may not be read; change its permissions or copy it elsewhere.", field) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise on broken data
        reason = " ".join(str(error).split())
        raise UserError(f"{path.name} is truncated or damaged ({reason}); save or download it again.", field) from error


def picture_notices(path: str | Path) -> list[str]:
    """What was done to a picture that `read_picture` accepts, and its owner should know."""
    notices = []
    with Image.open(path, formats=FORMATS) as image:
        if image.has_transparency_data:
            notices.append(f"{Path(path).name} has transparent parts: they are shown on white.")
        count = getattr(image, "n_frames", 1)
        if count > 1:
            notices.append(f"{Path(path).name} holds {count} pictures: the first one is taken.")
    return notices


def is_picture(path: Path) -> bool:
    """Whether the file opens as a picture: used to say so when one is given where sound is needed."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except (OSError, SyntaxError, ValueError):
        return False


def drawn_size(width: int, height: int, longest_side_px: int) -> tuple[int, int]:
    """Width and height at which a picture is drawn: its own, or in proportion with the longest side at the limit."""
    scale = min(1.0, longest_side_px / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def within(picture: np.ndarray, longest_side_px: int) -> np.ndarray:
    """`picture` [H, W, 3] at its `drawn_size`; the very array where it is small enough."""
    height, width = picture.shape[:2]
    size = drawn_size(width, height, longest_side_px)
    return picture if size == (width, height) else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def even_size(picture: np.ndarray) -> np.ndarray:
    """[H, W, 3] with an odd last row or column replicated, because 4:2:0 video has even sides. A no-op if even."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _check_size(path: Path, size: tuple[int, int], field: str, min_side_px: int, max_side_px: int) -> None:
    width, height = size
    if max(size) > max_side_px:
        raise UserError(
            f"{path.name} is {width} × {height} px; at most {max_side_px} px a side is accepted, make it smaller.",
            field,
        )
    if min(size) < min_side_px:
        raise UserError(
            f"{path.name} is {width} × {height} px; at least {min_side_px} px a side is needed, use a larger picture.",
            field,
        )


def _upright(image: Image.Image) -> Image.Image:
    rotated = ImageOps.exif_transpose(image)
    if profile := image.info.get("icc_profile"):
        rotated.info["icc_profile"] = profile
    return rotated


def _to_rgb(image: Image.Image, path: Path, field: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.float32) / 257.0).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UserError(
            f"{path.name} has 32-bit pixels, whose white point is not known; save it with 8 or 16 bits.", field
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image).convert("RGB")
        flat.info["icc_profile"] = image.info.get("icc_profile")
        return _to_srgb(flat)
    if image.mode not in ("RGB", "CMYK"):
        image = image.convert("RGB")
    return _to_srgb(image)


def _to_srgb(image: Image.Image) -> Image.Image:
    """Convert an RGB or CMYK image by its embedded colour profile; without a usable one, by Pillow's plain formula."""
    profile_bytes = image.info.get("icc_profile")
    if profile_bytes:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_bytes))
            matches = profile.profile.xcolor_space.strip() == image.mode
            if matches and "sRGB" not in ImageCms.getProfileDescription(profile):
                converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
                return converted if converted is not None else image
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile says nothing about the pixels; viewers ignore it, and so do we
    return image.convert("RGB")
