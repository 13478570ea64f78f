"""Movies: every picture, in order and alone; their times; damage that is refused and not shortened."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from micdb.errors import DamagedFileError, MissingExtraError, NotAnImageError, ReadError
from micdb.ingest.readers import video, video_track
from micdb.ingest.readers.video import Video
from micdb.ingest.sniff import candidates, open_scans
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "video" / "make.py")))

RNG = np.random.default_rng(7)
GREY = RNG.integers(0, 256, (6, 16, 24), dtype=np.uint8)
RGB = RNG.integers(0, 256, (6, 16, 24, 3), dtype=np.uint8)
RAMP = np.repeat(np.arange(256)[:, np.newaxis], 3, axis=1)

Y, X = np.mgrid[:48, :64]
MOVING = [
    np.stack(
        [127 + 120 * np.sin((X + 3 * n) / 9), 127 + 120 * np.sin((Y + 2 * n) / 7), 0 * X + 90], -1
    ).astype("u1")
    for n in range(40)
]

# Open groups of pictures: the first ones after a key picture, in order of display, need pictures before it.
X264 = {"x264-params": "keyint=9:min-keyint=9:scenecut=0:open-gop=1:bframes=3:log-level=none"}


class TestContract(ReaderContract):
    reader = Video

    @pytest.fixture
    def files(self, tmp_path):
        return [
            make.write(tmp_path / "h264.mp4", MOVING, codec="libx264", stored="yuv420p", options=X264),
            make.write(tmp_path / "lossless.mkv", list(RGB)),
            make.write(tmp_path / "grey.avi", list(GREY), stored="gray"),
            make.write(tmp_path / "png.mov", list(RGB), codec="png", stored="rgb24"),
            make.write(tmp_path / "vp9.webm", MOVING[:6], codec="libvpx-vp9", stored="yuv420p"),
            make.write_avi(tmp_path / "imagej.avi", list(GREY), RAMP),
            make.write(tmp_path / "one picture.mp4", MOVING[:1], codec="libx264", stored="yuv420p"),
        ]


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.mov"])
def test_lossless_colour_comes_back(tmp_path, name):
    codec, stored = ("png", "rgb24") if name == "a.mov" else ("ffv1", "bgr0")
    (scan,) = open_scans(make.write(tmp_path / name, list(RGB), codec=codec, stored=stored))
    assert [axis.name for axis in scan.axes] == ["time", "y", "x", "colour"]
    np.testing.assert_array_equal(scan.pixels.read(), RGB)
    np.testing.assert_array_equal(scan.pixels.load_frame(4), RGB[4])
    assert scan.source.format == {"a.mkv": "mkv", "a.avi": "avi", "a.mov": "mov"}[name]
    assert scan.problems == ()


@pytest.mark.parametrize(
    ("stored", "top"), [("gray", 255), ("gray10le", 1023), ("gray12le", 4095), ("gray16le", 65535)]
)
def test_grey_values_stay_as_stored(tmp_path, stored, top):
    pixels = (GREY / 255 * top).round().astype(np.uint8 if top == 255 else np.uint16)
    (scan,) = open_scans(make.write(tmp_path / "a.mkv", list(pixels), stored=stored))
    assert scan.pixels.dtype == pixels.dtype.name
    np.testing.assert_array_equal(scan.pixels.read(), pixels)
    assert not scan.colour


def test_deep_colour_is_not_cut_to_eight_bits(tmp_path):
    (scan,) = open_scans(make.write(tmp_path / "a.mov", list(RGB), codec="png", stored="rgb48be"))
    assert scan.pixels.dtype == "uint16"
    with av.open(str(tmp_path / "a.mov")) as container:
        stored = [
            frame.to_ndarray() for frame in container.decode(video=0)
        ]  # rgb48be as it is, no conversion
    np.testing.assert_array_equal(scan.pixels.read(), stored)


@pytest.mark.parametrize("palette", [RAMP, RAMP[::-1]], ids=["black to white", "white to black"])
def test_grey_palettes_of_imagej_are_grey_values(tmp_path, palette):
    (scan,) = open_scans(make.write_avi(tmp_path / "a.avi", list(GREY), palette))
    np.testing.assert_array_equal(scan.pixels.read(), palette[GREY][..., 0])
    np.testing.assert_array_equal(scan.pixels.load_frame(3), palette[GREY[3]][..., 0])


def test_coloured_palettes_are_colours_wherever_reading_begins(tmp_path):
    palette = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 9)], axis=1)
    (scan,) = open_scans(make.write_avi(tmp_path / "a.avi", list(GREY), palette))
    np.testing.assert_array_equal(scan.pixels.read(), palette[GREY])
    # FFmpeg hands out the palette with the first packet only: a jump into the file would show black.
    np.testing.assert_array_equal(scan.pixels.load_frame(3), palette[GREY[3]])


CODECS = {
    "h264.mp4": ("libx264", X264),
    "h264.mkv": ("libx264", X264),
    "h264.avi": ("libx264", X264),
    "mpeg4.avi": ("mpeg4", {"bf": "2"}),
    "mpeg2.mkv": ("mpeg2video", {"bf": "2"}),
    "mjpeg.avi": ("mjpeg", {}),
    "vp8.webm": ("libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
    "wmv2.avi": ("wmv2", {}),
}


@pytest.mark.parametrize("name", CODECS)
def test_single_pictures_equal_the_stream_exactly(tmp_path, name):
    codec, options = CODECS[name]
    stored = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = make.write(tmp_path / name, MOVING, codec=codec, stored=stored, rate=25, options=options)
    (scan,) = open_scans(path)
    with av.open(str(path)) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert scan.n_frames == len(expected) == 40
    assert scan.axis("time").step == 0.04
    np.testing.assert_array_equal(list(scan.pixels.frames(colour=True)), expected)
    for number in (39, 0, 20, 8, 9, 10, 7, 17, 18):
        np.testing.assert_array_equal(scan.pixels.load_frame(number), expected[number], err_msg=str(number))


def test_a_jump_decodes_few_pictures(tmp_path, monkeypatch):
    path = make.write(tmp_path / "a.mp4", MOVING, codec="libx264", stored="yuv420p", options=X264)
    pixels = open_scans(path)[0].pixels
    decoded, seen = video_track.decoded, []
    monkeypatch.setattr(
        video_track, "decoded", lambda *args, **since: (seen.append(1) or f for f in decoded(*args, **since))
    )
    pixels.load_frame(38)
    assert 1 <= len(seen) <= 9


@pytest.mark.parametrize(
    ("rate", "name"),
    [(Fraction(30000, 1001), "a.mkv"), (Fraction(24000, 1001), "a.mp4"), (Fraction(1, 60), "a.avi")],
)
def test_time_step_is_exact_although_containers_round(tmp_path, rate, name):
    (scan,) = open_scans(make.write(tmp_path / name, MOVING, codec="libx264", stored="yuv420p", rate=rate))
    axis = scan.axis("time")
    assert axis.step == float(1 / rate)
    assert axis.unit == "s"
    assert scan.problems == ()


@pytest.mark.parametrize("times", [[0, 10, 20, 31, 40, 50], [0, 10, 20, 30, 40, 60]])
def test_uneven_times_have_no_step(tmp_path, times):
    tick = Fraction(1, 100)
    path = make.write(
        tmp_path / "a.mp4", MOVING[:6], codec="libx264", stored="yuv420p", times=times, tick=tick
    )
    (scan,) = open_scans(path)
    assert scan.axis("time").step is None
    assert scan.axis("time").unit is None
    assert scan.problems == ("time step unknown: the pictures are not evenly spaced in time",)
    assert scan.n_frames == 6


def test_dropped_pictures_are_counted_out(tmp_path):
    frames = [GREY[0], GREY[1], None, GREY[2], GREY[3]]
    (scan,) = open_scans(make.write_avi(tmp_path / "a.avi", frames, RAMP))
    np.testing.assert_array_equal(scan.pixels.read(), GREY[:4])
    assert scan.axis("time").step is None
    assert scan.problems[0] == "the header promises 5 pictures, the file holds 4"


def test_no_length_scale_is_invented(tmp_path):
    (scan,) = open_scans(make.write(tmp_path / "a.mkv", list(RGB)))
    assert all(scan.axis(name).step is None for name in "yx")
    assert scan.modality is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2021-02-03T04:05:06.000000Z", "2021-02-03T04:05:06Z"),
        ("1970-01-01T00:00:00.000000Z", None),
        ("1904-01-01T00:00:00.000000Z", None),
    ],
)
def test_creation_time_is_the_moment_unless_its_clock_was_never_set(tmp_path, written, expected):
    path = make.write(
        tmp_path / "a.mkv", list(RGB), metadata={"creation_time": written, "title": "Brownian motion"}
    )
    (scan,) = open_scans(path)
    assert scan.acquired == expected
    assert scan.acquired_raw == written
    assert scan.name == "Brownian motion"
    assert scan.original["container"]["tags"]["title"] == "Brownian motion"
    assert scan.original["track"]["codec"] == "ffv1"


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        ({"degrees": 90}, "turned by 270 degrees clockwise"),
        ({"degrees": 180}, "turned by 180 degrees clockwise"),
        ({"degrees": 0, "vflip": True}, "upside down"),
        ({"degrees": 0}, None),
    ],
)
def test_rotation_is_named_and_not_applied(tmp_path, turn, said):
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 24, 16, "rgb24"
        stream.set_display_rotation(**turn)
        for frame in RGB:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    (scan,) = open_scans(tmp_path / "a.mov")
    np.testing.assert_array_equal(scan.pixels.read(), RGB)
    expected = () if said is None else (f"players show the pictures {said}; pixels are as stored",)
    assert scan.problems == expected


def test_transparency_and_stretching_are_named(tmp_path):
    (scan,) = open_scans(make.write(tmp_path / "a.mov", list(RGB), codec="qtrle", stored="argb"))
    np.testing.assert_array_equal(scan.pixels.read(), RGB)
    assert scan.problems == ("the transparency of the pictures is left out",)


def test_two_tracks_are_two_scans(tmp_path):
    with av.open(str(tmp_path / "two.mkv"), "w") as container:
        streams = [container.add_stream("ffv1", rate=10) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 24, 16, "gray"
        for frame in GREY:
            for stream, pixels in zip(streams, (frame, 255 - frame), strict=True):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray")))
        for stream in streams:
            container.mux(stream.encode())
    one, two = open_scans(tmp_path / "two.mkv")
    np.testing.assert_array_equal(one.pixels.read(), GREY)
    np.testing.assert_array_equal(two.pixels.read(), 255 - GREY)
    assert [one.name, two.name] == ["two track 1", "two track 2"]


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.avi", "a.mkv"])
def test_sound_without_pictures_is_refused_by_name(tmp_path, name):
    with pytest.raises(NotAnImageError, match=r"without a video track; it holds audio"):
        open_scans(make.write_sound(tmp_path / name))


def test_a_movie_without_a_picture_is_refused(tmp_path):
    with pytest.raises(NotAnImageError, match="a video track without a single picture"):
        open_scans(make.write_avi(tmp_path / "a.avi", [None], RAMP, size=(16, 24)))


CUTTABLE = {
    "a.mp4": {"codec": "libx264", "stored": "yuv420p", "container_options": {"movflags": "faststart"}},
    "a.mkv": {"codec": "libx264", "stored": "yuv420p"},
    "a.avi": {"codec": "mjpeg", "stored": "yuvj420p"},
    "a.mov": {"codec": "png", "stored": "rgb24", "container_options": {"movflags": "faststart"}},
}


@pytest.mark.parametrize("name", CUTTABLE)
@pytest.mark.parametrize("part", [0.5, 0.8, 0.9])
def test_a_movie_cut_short_is_refused_and_not_shortened(tmp_path, name, part):
    path = make.write(tmp_path / name, MOVING, **CUTTABLE[name])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(DamagedFileError, match=r"cut short|cannot be"):
        open_scans(path)


def test_a_picture_that_cannot_be_decoded_is_an_error_that_names_it(tmp_path):
    path = make.write(tmp_path / "a.mov", list(RGB), codec="png", stored="rgb24")
    content = bytearray(path.read_bytes())
    starts = [number for number in range(len(content)) if content[number : number + 4] == b"IDAT"]
    content[starts[3] + 40 : starts[3] + 60] = bytes(20)
    path.write_bytes(content)
    (scan,) = open_scans(path)
    with pytest.raises(DamagedFileError, match=r"a\.mov \[video\]: picture 3 .*cannot be decoded"):
        scan.pixels.read()
    with pytest.raises(DamagedFileError, match="picture 3 "):
        list(scan.pixels.frames(colour=True))
    np.testing.assert_array_equal(scan.pixels.load_frame(5), RGB[5])


def test_uncompressed_pictures_with_too_few_bytes_are_refused(tmp_path):
    path = make.write_avi(tmp_path / "a.avi", list(GREY), RAMP)
    content = bytearray(path.read_bytes())
    start = [number for number in range(len(content)) if content[number : number + 4] == b"00db"][3]
    content[start + 4 : start + 8] = struct.pack("<I", 100)  # FFmpeg would show what memory held before
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="has 100 of 384 bytes"):
        open_scans(path)


def test_pictures_of_another_size_are_refused(tmp_path):
    small = make.write(tmp_path / "small.avi", list(RGB[:, :8, :12]), codec="png", stored="rgb24")
    large = make.write(tmp_path / "large.avi", list(RGB), codec="png", stored="rgb24")
    with av.open(str(small)) as container:
        inserted = next(container.demux(video=0))
        inserted = bytes(inserted)
    content = bytearray(large.read_bytes())
    start = [number for number in range(len(content)) if content[number : number + 4] == b"\x89PNG"][2]
    content[start : start + len(inserted)] = inserted
    large.write_bytes(content)
    (scan,) = open_scans(large)
    with pytest.raises(DamagedFileError, match=r"picture 2 is \(8, 12\), the first one \(16, 24\)"):
        scan.pixels.read()


def test_huge_pictures_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "_MAX_PIXELS", 100)
    with pytest.raises(
        ReadError, match="pictures of 24 x 16 pixels; if they are genuine, convert them to TIFF"
    ):
        open_scans(make.write(tmp_path / "a.mkv", list(RGB)))


def test_a_codec_that_ffmpeg_does_not_know_is_named(tmp_path):
    path = make.write(tmp_path / "a.avi", list(RGB), codec="png", stored="rgb24")
    path.write_bytes(path.read_bytes().replace(b"MPNG", b"QQQQ"))
    with pytest.raises(ReadError, match="FFmpeg has no decoder for the codec of this movie"):
        open_scans(path)


def test_any_name_of_a_file_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = make.write(tmp_path / "a.mkv", list(RGB))
    for name in ("http:a.mkv", "concat:a|b", "-i", "ä µ %20#?.mkv"):
        (tmp_path / name).write_bytes(path.read_bytes())
        np.testing.assert_array_equal(open_scans(name)[0].pixels.read(), RGB)


@pytest.mark.parametrize("brand", [b"heic", b"avif", b"jp2 ", b"crx "])
def test_still_pictures_in_the_same_container_are_no_movies(tmp_path, brand):
    head = b"\0\0\0\x18ftyp" + brand + bytes(12)
    assert Video.sniff(tmp_path / "a.mp4", head) == 0


def test_other_riff_and_ebml_files_are_no_movies(tmp_path):
    assert Video.sniff(tmp_path / "a.avi", b"RIFF\0\0\0\0WAVEfmt ") == 0
    assert Video.sniff(tmp_path / "a.mkv", b"\x1a\x45\xdf\xa3\x83\x42\x82\x84text") == 0


def test_old_quicktime_files_without_a_type_box_are_known(tmp_path):
    content = make.write(tmp_path / "a.mov", list(RGB), codec="png", stored="rgb24").read_bytes()
    length = int.from_bytes(content[:4], "big")
    (tmp_path / "old.dat").write_bytes(
        b"\0\0\0\x08wide"
        + bytes(0)
        + b"\0\0\0"
        + bytes([length - 8])
        + b"free"
        + bytes(length - 16)
        + content[length:]
    )
    assert candidates(tmp_path / "old.dat")[0].name == "video"
    np.testing.assert_array_equal(open_scans(tmp_path / "old.dat")[0].pixels.read(), RGB)


def test_a_playlist_named_like_a_movie_opens_nothing(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    with pytest.raises(ReadError, match="no reader knows this file"):
        open_scans(path)


def test_ffmpeg_prints_nothing(tmp_path):
    path = make.write(tmp_path / "a.mp4", MOVING, codec="libx264", stored="yuv420p", options=X264)
    content = bytearray(path.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 50] = bytes(50)
    path.write_bytes(content)
    code = f"from micdb.ingest.sniff import open_scans\nopen_scans({str(path)!r})[0].pixels.read()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "DamagedFileError" in run.stderr
    assert run.stderr.startswith("Traceback")  # FFmpeg would have written lines like "[h264 @ 0x...] error"
    assert "[h264" not in run.stderr
    assert run.stdout == ""


def test_without_the_package_the_error_is_the_install_line(tmp_path, monkeypatch):
    path = make.write(tmp_path / "a.mkv", list(RGB))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        MissingExtraError, match=r"a\.mkv: this needs the package 'av': pip install 'micdb\[movies\]'"
    ):
        open_scans(path)


def test_a_long_movie_streams_in_little_memory(tmp_path):
    frame = np.zeros((720, 1280, 3), dtype=np.uint8)  # 2.8 MB each, 830 MB in all
    path = make.write(tmp_path / "long.mp4", [frame] * 300, codec="libx264", stored="yuv420p")
    (scan,) = open_scans(path)
    (tmp_path / "scan.pickle").write_bytes(pickle.dumps(scan))
    code = f"""
import pickle, re
from pathlib import Path
scan = pickle.loads(Path({str(tmp_path / "scan.pickle")!r}).read_bytes())
count = sum(1 for _ in scan.pixels.frames(colour=True))
print(count, int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, peak = (int(word) for word in run.stdout.split())
    assert count == 300
    assert peak < 300  # [MB]


def test_real_movie_equals_the_manifest(shared):
    formats = shared / "data" / "formats"
    items = json.loads((formats / "manifest.json").read_text())["items"]
    for item in (item for item in items if item["format"] == "movie"):
        facts = item["expected"]["facts"]
        (scan,) = open_scans(formats / item["open"])
        assert scan.n_frames == facts["n_frames"]
        frames = scan.pixels.frames(colour=True)
        first = next(frames)
        frames.close()
        assert list(first.shape) == facts["images"][0]["shape"]
        stats = facts["first_image_stats"]
        found = (first.min(), first.max(), first.mean(), first.std())
        assert found == pytest.approx([stats[name] for name in ("min", "max", "mean", "std")], rel=1e-5)
        assert scan.axis("time").step == 1001 / 24000
        assert scan.acquired == "2012-12-10T05:00:00Z"
        np.testing.assert_array_equal(scan.pixels.load_frame(0), first)
