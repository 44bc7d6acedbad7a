"""A finished video as it is taken away: cropped round the face that speaks, captioned, loud as players ask, mp4 or gif.

The one place that edits with moviepy; what the engine generates is streamed by `engine.media.video`. The record that a
video carries goes along. Knows nothing about models.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pyloudnorm
from moviepy import CompositeVideoClip, TextClip, VideoFileClip
from moviepy.audio.AudioClip import AudioArrayClip
from scipy.ndimage import gaussian_filter1d

from engine.contract.errors import FaceNotFound, UserError
from engine.contract.export import RATIOS, Export
from engine.media.audio import SAMPLE_RATE_HZ, read_audio
from engine.media.captions import Caption, as_srt, as_vtt, lay_captions
from engine.media.face import track_face
from engine.media.marking.manifest import AIGC_KEY, aigc, sign
from engine.media.marking.signer import is_marking, signing_files
from engine.media.marking.watermark import find, mark_rgb
from engine.media.video import probe, read_metadata, read_video_frames

SHORT_SIDES_PX = (720, 1080)
"""The short side of a cropped video: the larger one where the crop is scaled up to 1.5 times its size at most."""
FACE_EVERY_S, FOLLOW_S = 0.2, 0.4
FACE_AT = 0.4
"""How far down the picture the face's middle stands."""
LUFS, PEAK = -14.0, 0.95
SOUND_HZ = 48_000
GIF_FPS, GIF_SIDE_PX = 12, 480
CRF = "18"
HALF_WRITTEN = ".export."
"""What a name begins with until its file is whole."""
CAPTION_SHARE, CAPTION_WIDTH, CAPTION_AT = 0.052, 0.86, 0.80
"""Of the short side; of the width; how far down the lines begin."""


def export(video: Path, out: Path, wanted: Export) -> list[Path]:
    """Write `video` as `wanted` to `out`, whose suffix becomes the format's, with .vtt and .srt beside it.

    Returns the files. Raises UserError: for `video` where it cannot be read, `captions` where they are too long or no
    font has their letters, `shape` where no face is seen to crop round.
    """
    info = probe(video)
    wanted.check_length(info.duration_s)
    out = out.with_suffix(f".{wanted.format}")
    if out.exists() and out.samefile(video):
        raise UserError(f"{out.name} is the video itself, which is kept; give another name for what is written.", "out")
    marked = is_marking()
    if marked:
        signing_files()  # before the work, not after it
    silent = np.zeros(round(info.duration_s * SAMPLE_RATE_HZ), np.float32)
    sound = read_audio(video, field="video") if info.audio_sample_rate_hz else silent
    captions = lay_captions(wanted.captions, sound)
    font = font_for(wanted.captions) if captions and wanted.burnt_in else None
    corners, (width, height), size = _crop(video, wanted)

    def cropped(frame_at: object, time_s: float) -> np.ndarray:
        x, y = corners[min(int(time_s * info.fps + 1e-6), len(corners) - 1)]
        frame = frame_at(time_s)  # type: ignore[operator]
        turn = np.array([[size[0] / width, 0, -x * size[0] / width], [0, size[1] / height, -y * size[1] / height]])
        return cv2.warpAffine(frame, turn, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

    part = out.with_name(f"{HALF_WRITTEN}{out.stem}{out.suffix}")
    try:
        # Its reader of sound fails at the very end of some files; ours does not.
        with VideoFileClip(str(video), audio=False) as source:
            clip = source.transform(cropped) if RATIOS[wanted.shape] else source
            if font is not None:
                clip = CompositeVideoClip([clip, *_drawn(captions, font, size)], size=size)
            if wanted.format == "gif":
                clip = clip.resized(min(1.0, GIF_SIDE_PX / max(size)))
            # What was scaled is marked again at its new size; once is enough for what was not.
            same_pictures = RATIOS[wanted.shape] is None and wanted.format == "mp4"
            if marked and not (same_pictures and find(read_video_frames(video), np.ones(1)).found):
                clip = clip.image_transform(mark_rgb)
            if wanted.format == "gif":
                clip.write_gif(str(part), fps=GIF_FPS, logger=None)
            else:
                heard = _heard(video, wanted, clip.duration) if info.audio_sample_rate_hz else None
                metadata = read_metadata(video)
                _write(clip, part, heard, {AIGC_KEY: aigc(metadata)} | metadata if marked else metadata)
        if marked:
            signed = part.with_name(f"{part.stem}.signed{part.suffix}")
            sign(part, signed, part.suffix, has_sound=bool(info.audio_sample_rate_hz) and wanted.format == "mp4")
            signed.replace(part)
        part.replace(out)
    finally:
        for left in [path for path in out.parent.iterdir() if path.name.startswith(part.stem)]:  # the sound's too
            left.unlink()
    files = [out]
    for suffix, text in ((".vtt", as_vtt(captions)), (".srt", as_srt(captions))) if captions else ():
        files.append(out.with_suffix(suffix))
        files[-1].write_text(text, encoding="utf-8")
    return files


def _heard(video: Path, wanted: Export, duration_s: float) -> AudioArrayClip:
    """The video's voice at 48 kHz on both channels, as long as the pictures."""
    sound = read_audio(video, sample_rate_hz=SOUND_HZ, field="video")
    loud = levelled(sound[:, None].astype(np.float64), SOUND_HZ) if wanted.loudness else sound[:, None]
    missing = max(0, round(duration_s * SOUND_HZ) + SOUND_HZ // 10 - len(loud))
    both = np.repeat(np.pad(loud, ((0, missing), (0, 0))), 2, axis=1)
    return AudioArrayClip(both, fps=SOUND_HZ).with_duration(duration_s)


def _write(clip: VideoFileClip, part: Path, sound: AudioArrayClip | None, metadata: dict[str, str]) -> None:
    if sound is not None:
        clip = clip.with_audio(sound)
    told = [piece for name, value in metadata.items() for piece in ("-metadata", f"{name}={value}")]
    clip.write_videofile(
        str(part),
        codec="libx264",
        audio_codec="aac",
        audio_fps=SOUND_HZ,
        temp_audiofile_path=str(part.parent),
        preset="veryfast",
        pixel_format="yuv420p",
        ffmpeg_params=["-crf", CRF, "-movflags", "+faststart+use_metadata_tags", *told],
        logger=None,
    )


def levelled(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """`sound` float [n, channels] at LUFS by ITU-R BS.1770, its peak below PEAK; silence, and what is too short to be
    measured (0.4 s), as it is."""
    if len(sound) < 0.4 * rate_hz:
        return sound
    loud = pyloudnorm.Meter(rate_hz).integrated_loudness(sound)
    if not np.isfinite(loud):
        return sound
    gain = 10 ** ((LUFS - loud) / 20)
    return sound * min(gain, PEAK / max(float(np.abs(sound).max()), 1e-9))


def _crop(video: Path, wanted: Export) -> tuple[np.ndarray, tuple[float, float], tuple[int, int]]:
    """The crop's upper left corner in every frame [F, 2], its width and height, and the size that is written."""
    info = probe(video)
    ratio = RATIOS[wanted.shape]
    if ratio is None:
        return np.zeros((1, 2)), (info.width_px, info.height_px), (info.width_px, info.height_px)
    scale = min(info.width_px / ratio[0], info.height_px / ratio[1])
    width, height = ratio[0] * scale, ratio[1] * scale
    short = next((side for side in reversed(SHORT_SIDES_PX) if side <= 1.5 * min(width, height)), SHORT_SIDES_PX[0])
    unit = short / min(ratio)
    size = (2 * round(ratio[0] * unit / 2), 2 * round(ratio[1] * unit / 2))
    middles = _faces(video, info.fps)
    corners = middles - [0.5 * width, FACE_AT * height]
    limits = np.array([info.width_px - width, info.height_px - height])
    return np.clip(corners, 0, np.maximum(limits, 0)), (width, height), size


def _faces(video: Path, fps: float) -> np.ndarray:
    """The middle of the face that is followed, in every frame, as calmly as a camera man would: [F, 2]."""
    every = max(1, round(FACE_EVERY_S * fps))
    seen: list[tuple[int, np.ndarray]] = []
    for number, face in enumerate(track_face(_some(video, every))):
        if face is not None:
            seen.append((number * every, face[:, :2].mean(0)))
    if not seen:
        raise FaceNotFound("No face is seen in the video to crop round; export it as it is.", "shape")
    frames = np.arange(probe(video).num_frames)
    at, places = np.array([one for one, _ in seen]), np.array([place for _, place in seen])
    path = np.column_stack([np.interp(frames, at, places[:, axis]) for axis in (0, 1)])
    return np.asarray(gaussian_filter1d(path, FOLLOW_S * fps, axis=0, mode="nearest"))


def _some(video: Path, every: int) -> Iterator[np.ndarray]:
    for number, frame in enumerate(read_video_frames(video)):
        if number % every == 0:
            yield frame


def _drawn(captions: list[Caption], font: str, size: tuple[int, int]) -> Iterator[TextClip]:
    letters_px = round(CAPTION_SHARE * min(size) * (1.15 if size[1] > size[0] else 1.0))
    for caption in captions:
        text = TextClip(
            font=font,
            text=caption.text,
            font_size=letters_px,
            color="white",
            stroke_color="black",
            stroke_width=max(1, round(letters_px / 12)),
            method="caption",
            size=(round(CAPTION_WIDTH * size[0]), None),
            margin=(0, letters_px // 3),
            text_align="center",
        )
        shown = text.with_start(caption.start_s).with_duration(caption.stop_s - caption.start_s)
        yield shown.with_position(("center", min(CAPTION_AT * size[1], size[1] - text.h)))


def font_for(words: str) -> str:
    """The file of a font that has all letters of `words`, of those that come along or are installed.

    Raises UserError for `captions` where none has.
    """
    letters = frozenset(ord(letter) for letter in words if not letter.isspace())
    for path in _fonts():
        if letters <= _letters_of(path):
            return path
    lacking = "".join(sorted(chr(letter) for letter in letters - _letters_of(_fonts()[0])))[:20]
    raise UserError(
        f"No font on this machine has the letters {lacking}; install one (Debian: fonts-noto-cjk for Chinese), or "
        "leave the captions out of the picture.",
        "captions",
    )


@lru_cache(maxsize=1)
def _fonts() -> list[str]:
    """Font files, the one that is always there (DejaVu Sans Bold, with matplotlib) first."""
    from matplotlib import font_manager

    always = font_manager.findfont(font_manager.FontProperties(family="DejaVu Sans", weight="bold"))
    # The last resort has a box for every letter there is.
    others = {entry.fname for entry in font_manager.fontManager.ttflist if "LastResort" not in entry.fname} - {always}
    return [always, *sorted(others, key=lambda path: ("CJK" not in path, "Bold" not in path, path))]


@lru_cache(maxsize=64)
def _letters_of(path: str) -> frozenset[int]:
    from fontTools.ttLib import TTCollection, TTFont

    try:
        fonts = TTCollection(path, lazy=True).fonts if path.endswith((".ttc", ".otc")) else [TTFont(path, lazy=True)]
        return frozenset(fonts[0].getBestCmap() or ())
    except Exception:  # fonts that fontTools cannot read draw nothing for us either
        return frozenset()
