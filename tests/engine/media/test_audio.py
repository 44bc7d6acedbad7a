"""Every common sound arrives as mono float32 at 16 kHz; every unusable one is refused in one sentence."""

import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from engine.contract.errors import UserError
from engine.media.audio import is_silent, read_audio
from engine.media.video import VideoWriter

RATE_HZ = 16_000


def chirp(seconds: float, rate_hz: int = RATE_HZ, peak: float = 0.5) -> np.ndarray:
    """A tone gliding from 200 to 3000 Hz: every stretch of it is different, so a shift or a cut shows."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (peak * np.sin(2 * np.pi * (200 * time_s + 1400 * time_s**2 / seconds))).astype(np.float32)


def encode(path: Path, codec: str, wave: np.ndarray, rate_hz: int, layout: str = "mono") -> Path:
    """Write `wave` [samples] or [channels, samples] by PyAV."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.atleast_2d(wave).astype(np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def refusal(path: Path, **limits: float) -> str:
    with pytest.raises(UserError) as refused:
        read_audio(path, field="voice", **limits)
    assert refused.value.field == "voice"
    assert "\n" not in refused.value.message
    return refused.value.message


def assert_same_sound(wave: np.ndarray, expected: np.ndarray, *, within: float, length: int = 0) -> None:
    """Equal but for `length` samples at the end and a residue of `within` of the power (no shift, no gain)."""
    assert abs(len(wave) - len(expected)) <= length
    common = min(len(wave), len(expected))
    residue = wave[:common] - expected[:common]
    assert (residue**2).mean() < within * (expected**2).mean()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_wav_of_every_depth_is_read_exactly(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "voice.wav"
    soundfile.write(path, chirp(1), RATE_HZ, subtype=subtype)
    assert_same_sound(read_audio(path), chirp(1), within=1e-3 if subtype == "PCM_U8" else 1e-8)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [
        ("voice.mp3", "libmp3lame", 44_100),
        ("voice.m4a", "aac", 44_100),
        ("voice.ogg", "libopus", 48_000),
        ("voice.webm", "libopus", 48_000),
        ("voice.mka", "aac", 48_000),
    ],
)
def test_compressed_sound_keeps_its_place_in_time(tmp_path: Path, name: str, codec: str, rate_hz: int) -> None:
    path = encode(tmp_path / name, codec, chirp(2, rate_hz), rate_hz)
    # At the end a codec may leave some of its last block; at the start nothing may be added.
    assert_same_sound(read_audio(path), chirp(2), within=0.02, length=RATE_HZ // 10)


def test_flac_and_vorbis_are_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "voice.flac", chirp(1, 48_000), 48_000)
    soundfile.write(tmp_path / "voice.ogg", chirp(1, 48_000), 48_000)
    assert_same_sound(read_audio(tmp_path / "voice.flac"), chirp(1), within=1e-4)
    assert_same_sound(read_audio(tmp_path / "voice.ogg"), chirp(1), within=0.02, length=RATE_HZ // 100)


def test_the_sound_of_a_video_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, (64, 64), audio=chirp(1)) as writer:
        for _ in range(25):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    assert_same_sound(read_audio(path), chirp(1), within=0.02)


def test_stereo_becomes_the_mean_of_its_channels(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([chirp(1), 0.5 * chirp(1)], axis=1), RATE_HZ, subtype="FLOAT")
    assert_same_sound(read_audio(path), 0.75 * chirp(1), within=1e-8)


def test_resampling_removes_what_16_khz_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "whistle.wav"
    time_s = np.arange(48_000) / 48_000
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 12_000 * time_s), 48_000)
    assert np.sqrt((read_audio(path)[500:-500] ** 2).mean()) < 1e-4


def test_a_loud_recording_is_scaled_as_a_whole_not_clipped(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, chirp(1, peak=1.5), RATE_HZ, subtype="FLOAT")
    assert_same_sound(read_audio(path), chirp(1, peak=1.0), within=1e-6)


@pytest.mark.parametrize(("scale", "told"), [(0.5, False), (1.05, False), (2.8, True), (32_767.0, True)])
def test_samples_beyond_full_scale_are_made_quieter_and_that_is_told(tmp_path: Path, scale: float, told: bool) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, chirp(1, peak=scale), RATE_HZ, subtype="FLOAT")
    notices: list[str] = []
    assert_same_sound(read_audio(path, notices=notices), chirp(1, peak=min(1.0, scale)), within=1e-6)
    assert [("full scale" in notice, "loud.wav" in notice) for notice in notices] == [(True, True)] * told


CHANNELS = [2, 6, 7, 8, 9, 16, 32, 64]


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_32", "FLOAT", "DOUBLE"])
def test_no_count_of_channels_and_no_sample_format_is_too_much(tmp_path: Path, channels: int, subtype: str) -> None:
    path = tmp_path / "many.wav"
    soundfile.write(path, np.repeat(chirp(0.5)[:, None], channels, axis=1), RATE_HZ, subtype=subtype)
    assert_same_sound(read_audio(path), chirp(0.5), within=2e-3)


@pytest.mark.parametrize(("name", "codec"), [("voice.flac", "flac"), ("voice.m4a", "aac")])
def test_encoded_sound_of_eight_channels_is_heard(tmp_path: Path, name: str, codec: str) -> None:
    path = tmp_path / name
    wave = chirp(1, 48_000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout="7.1")
        packed = np.repeat(wave, 8)[None]
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="7.1")
        frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    assert_same_sound(read_audio(path), chirp(1), within=0.05, length=RATE_HZ // 10)


@pytest.mark.parametrize("channels", [2, 3, 8])
@pytest.mark.parametrize("loud", [0, 1])
def test_speech_in_one_channel_alone_is_heard_as_loud(tmp_path: Path, channels: int, loud: int) -> None:
    wave = np.zeros((RATE_HZ, channels), np.float32)
    wave[:, loud] = chirp(1)
    soundfile.write(tmp_path / "one.wav", wave, RATE_HZ, subtype="FLOAT")
    assert_same_sound(read_audio(tmp_path / "one.wav"), chirp(1), within=1e-8)


@pytest.mark.parametrize("signs", [(1, -1), (1, -1, 1, -1), (-1, 1, 1, 1, -1, 1, -1, 1)])
def test_channels_in_antiphase_do_not_cancel(tmp_path: Path, signs: tuple[int, ...]) -> None:
    wave = chirp(1)[:, None] * np.array(signs, np.float32)
    soundfile.write(tmp_path / "anti.wav", wave, RATE_HZ, subtype="FLOAT")
    heard = read_audio(tmp_path / "anti.wav")
    assert_same_sound(heard * np.sign(np.vdot(heard, chirp(1))), chirp(1), within=1e-8)


def with_title(path: Path, title: bytes) -> Path:
    """A wav whose INFO chunk says `title`."""
    soundfile.write(path, chirp(0.5), RATE_HZ)
    data = path.read_bytes()
    name = b"INAM" + len(title).to_bytes(4, "little") + title + b"\0" * (len(title) % 2)
    chunk = b"LIST" + (4 + len(name)).to_bytes(4, "little") + b"INFO" + name
    data = data[:12] + chunk + data[12:]
    path.write_bytes(data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:])
    return path


@pytest.mark.parametrize(
    "title", ["Müller".encode("latin-1"), b"\xff\xfe\x00", "Привет".encode("cp1251"), "声".encode("gbk")]
)
def test_a_title_in_any_encoding_does_not_keep_the_sound_from_being_heard(tmp_path: Path, title: bytes) -> None:
    assert_same_sound(read_audio(with_title(tmp_path / "titled.wav", title)), chirp(0.5), within=1e-6)


def test_a_wav_of_empty_chunks_is_looked_through_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "chunks.wav"
    path.write_bytes(b"RIFF" + (2**31).to_bytes(4, "little") + b"WAVE" + (b"junk" + bytes(4)) * 2_000_000)
    began_s = time.process_time()
    assert "\n" not in refusal(path)
    assert time.process_time() - began_s < 5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    wave = chirp(1)
    wave[4000] = bad
    path = tmp_path / "broken.wav"
    soundfile.write(path, wave, RATE_HZ, subtype="FLOAT")
    assert "NaN" in refusal(path)


def test_an_empty_file_and_a_header_without_sound_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    assert "empty" in refusal(tmp_path / "empty.wav")
    soundfile.write(tmp_path / "header.wav", np.zeros(0), RATE_HZ)
    assert "0.00 s" in refusal(tmp_path / "header.wav")


def test_a_tenth_of_a_second_is_refused_with_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "click.wav"
    soundfile.write(path, chirp(0.1), RATE_HZ)
    assert "0.10 s" in refusal(path) and "0.2 s" in refusal(path)


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("name", ["voice.wav", "voice.flac", "voice.m4a"])
def test_a_truncated_sound_is_refused(tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    if name.endswith("m4a"):
        encode(path, "aac", chirp(3), RATE_HZ)
    else:
        soundfile.write(path, chirp(3), RATE_HZ)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert path.name in refusal(path)


def test_a_streamed_wav_without_a_length_is_read(tmp_path: Path) -> None:
    path = tmp_path / "piped.wav"
    soundfile.write(path, chirp(1), RATE_HZ)
    data = bytearray(path.read_bytes())
    start = data.index(b"data") + 4
    data[4:8] = data[start : start + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert_same_sound(read_audio(path), chirp(1), within=1e-8)


def test_a_picture_given_as_sound_is_named_so(tmp_path: Path) -> None:
    for name in ("face.png", "face.jpg", "face.webp", "face.wav"):
        Image.new("RGB", (64, 64)).save(tmp_path / name, format=None if "wav" not in name else "png")
        assert "is a picture" in refusal(tmp_path / name)


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    with VideoWriter(path, (64, 64)) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))
    assert "no sound track" in refusal(path)


def test_text_missing_paths_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.wav").write_text("Dear reader,")
    assert "cannot be read as sound" in refusal(tmp_path / "letter.wav")
    assert "does not exist" in refusal(tmp_path / "nobody.wav")
    assert "folder" in refusal(tmp_path)


def test_a_playlist_that_names_another_file_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "secret.wav", chirp(1), RATE_HZ)
    for name, text in {
        "list.wav": f"ffconcat version 1.0\nfile {tmp_path / 'secret.wav'}\n",
        "list.mp3": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path / 'secret.wav'}\n#EXT-X-ENDLIST\n",
    }.items():
        (tmp_path / name).write_text(text)
        refusal(tmp_path / name)


def test_ten_minutes_are_read_and_a_longer_sound_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "lecture.wav"
    soundfile.write(path, np.tile(chirp(1, 8000), 600), 8000)
    assert len(read_audio(path)) == 600 * RATE_HZ
    with soundfile.SoundFile(path, "r+") as file:
        file.seek(0, soundfile.SEEK_END)
        file.write(chirp(2, 8000))
    assert "602 s" in refusal(path) and "at most 600 s" in refusal(path)


def test_a_length_unknown_beforehand_is_limited_while_reading(tmp_path: Path) -> None:
    path = encode(tmp_path / "stream.mka", "aac", chirp(5), RATE_HZ)
    assert "at most 2 s" in refusal(path, max_s=2)


def test_silence_is_below_60_db_in_every_frame() -> None:
    noise = np.random.default_rng(0).normal(0, 1, RATE_HZ)
    assert is_silent(np.zeros(RATE_HZ, np.float32))
    assert is_silent(noise * 0.0005)
    assert not is_silent(noise * 0.002)
    word = np.zeros(RATE_HZ * 60, np.float32)
    word[8000:9000] = chirp(1)[:1000]
    assert not is_silent(word)
