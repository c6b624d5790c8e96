"""Fault tests 3 to 6: truncated, flipped, oversized, crafted files never get through."""

import gzip
import json
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import MedpipeError, ReadError
from pipeline.geometry import to_sitk
from pipeline.io import read_volume, write_volume
from pipeline.types import Geometry, Volume

SOURCE = str(Path(__file__).parents[3] / "src")

#: Reads a file in a process of its own; prints error, seconds and peak memory.
PROBE = """
import json, sys, time
from pathlib import Path
from pipeline.errors import MedpipeError
from pipeline.io import read_volume
options = json.loads(sys.argv[2])
start = time.perf_counter()
try:
    read_volume(Path(sys.argv[1]), **options)
    message = ""
except MedpipeError as error:
    message = str(error)
seconds = time.perf_counter() - start
status = Path("/proc/self/status").read_text()  # getrusage would show the parent's peak
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps({"message": message, "seconds": seconds, "peak_mb": peak}))
"""


def probe(path, **options):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(path), json.dumps(options)],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": SOURCE},
    )  # fmt: skip
    return json.loads(done.stdout)


def inflated(content):
    """Return the decoded bytes, or None when this is no valid gzip file."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return None


def mutants(good, rng):
    for percent in np.linspace(1, 99, 50):
        yield good[: int(len(good) * percent / 100)]
    places = [*range(-8, 0), *rng.integers(0, len(good), 42).tolist()]
    for place in places:
        broken = bytearray(good)
        broken[place] ^= 1 << int(rng.integers(8))
        yield bytes(broken)


def test_all_of_100_mutants_are_rejected(tmp_path, volume, rng):
    good = tmp_path / "good.nii.gz"
    write_volume(good, volume)
    content, path = good.read_bytes(), tmp_path / "mutant.nii.gz"
    count = harmless = 0
    for mutant in mutants(content, rng):
        count += 1
        path.write_bytes(mutant)
        if inflated(mutant) == inflated(content):
            harmless += 1
            assert np.array_equal(read_volume(path).data, volume.data)
            continue
        with pytest.raises(ReadError, match=re.escape(str(path))):
            read_volume(path)
    assert count == 100
    assert harmless <= 3  # flips of the time or system byte of the gzip header


def test_no_good_file_of_50_is_rejected(tmp_path, rng):
    kinds = [(e, d) for e in (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd") for d in
             ("uint8", "int16", "uint16", "float32", "float64")]  # fmt: skip
    for number in range(50):
        ending, dtype = kinds[number % len(kinds)]
        shape = tuple(int(n) for n in rng.integers(1, 12, 3))
        spacing = tuple(float(v) for v in rng.uniform(0.2, 6.0, 3))
        direction = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        grid = Geometry(shape, spacing, tuple(rng.normal(0, 100, 3).tolist()), direction)
        data = (100 * rng.normal(size=shape)).astype(dtype) if dtype[0] != "u" else rng.integers(
            0, 200, shape).astype(dtype)  # fmt: skip
        path = tmp_path / f"good{number}{ending}"
        sitk.WriteImage(to_sitk(Volume(data, grid)), str(path), bool(number % 3))
        assert np.array_equal(read_volume(path).data, data)


def test_uncompressed_files_are_measured(tmp_path, volume):
    for ending in (".nii", ".mhd", ".nrrd"):
        path = tmp_path / f"a{ending}"
        sitk.WriteImage(to_sitk(volume), str(path), False)
        data = tmp_path / "a.raw" if ending == ".mhd" else path
        content = data.read_bytes()
        data.write_bytes(content[:-1])
        with pytest.raises(ReadError, match="truncated"):
            read_volume(path)
        data.write_bytes(content + b"\0" * 100)
        assert np.array_equal(read_volume(path).data, volume.data)
        for surplus in (b"x", b"\0" * 600):
            data.write_bytes(content + surplus)
            with pytest.raises(ReadError, match="more bytes follow"):
                read_volume(path)


def test_gzip_members_padding_and_garbage(tmp_path, volume):
    path = tmp_path / "a.nii.gz"
    write_volume(path, volume)
    whole = gzip.decompress(path.read_bytes())
    parts = [gzip.compress(whole[n : n + 100]) for n in range(0, len(whole), 100)]
    for content in (b"".join(parts), b"".join(parts) + b"\0" * 1000):
        path.write_bytes(content)
        assert np.array_equal(read_volume(path).data, volume.data)
    for garbage in (b"x", b"\0\0x", b"\x1f", b"\x1f\x8b", b"\x1f\x8bxx"):
        path.write_bytes(b"".join(parts) + garbage)
        with pytest.raises(ReadError, match=r"foreign bytes|corrupt|truncated|no end"):
            read_volume(path)


def test_wrong_zlib_check_sum_in_metaimage(tmp_path, volume):
    path = tmp_path / "a.mha"
    write_volume(path, volume)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ReadError, match="corrupt zlib data"):
        read_volume(path)


def bombs(raw_nifti):
    size = 4096
    header = bytearray(raw_nifti(np.zeros((1, 1, 1), np.float32)))[:352]
    struct.pack_into("<8h", header, 40, 3, size, size, size, 1, 1, 1, 1)
    nifti = bytes(header) + b"\0" * 25
    mha = (f"ObjectType = Image\nNDims = 3\nDimSize = {size} {size} {size}\nElementType = MET_FLOAT"
           "\nElementSpacing = 1 1 1\nElementDataFile = LOCAL\n").encode() + b"\0" * 25  # fmt: skip
    nrrd = (f"NRRD0004\ntype: float\ndimension: 3\nsizes: {size} {size} {size}\nspacings: 1 1 1\n"
            "endian: little\nencoding: raw\n\n").encode() + b"\0" * 25  # fmt: skip
    return {"a.nii": nifti, "a.nii.gz": gzip.compress(nifti), "a.mha": mha, "a.nrrd": nrrd}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd"])
@pytest.mark.parametrize("cap", [8 << 30, 1 << 60])
def test_header_bombs_cost_nothing(tmp_path, raw_nifti, name, cap):
    path = tmp_path / name
    path.write_bytes(bombs(raw_nifti)[name])
    assert path.stat().st_size < 400
    found = probe(path, max_bytes=cap)
    assert "declares 274,877,906,944 bytes" in found["message"]
    assert found["seconds"] < 1.0
    assert found["peak_mb"] < 300


def test_gzip_bomb_stops_at_the_declared_size(tmp_path, raw_nifti):
    header = raw_nifti(np.zeros((64, 64, 64), np.float32))
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = gzip.compress(bytes(1 << 26), 9, mtime=0)
    content = engine.compress(header) + engine.flush() + zeros * 64
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(content)
    assert len(content) < 5 << 20
    found = probe(path)
    assert "more bytes follow" in found["message"]
    assert found["peak_mb"] < 500
    assert found["seconds"] < 5.0


def test_a_declared_gzip_bomb_stops_at_the_cap(tmp_path, raw_nifti):
    header = bytearray(raw_nifti(np.zeros((1, 1, 1), np.float32)))[:352]
    struct.pack_into("<8h", header, 40, 3, 1024, 1024, 1024, 1, 1, 1, 1)
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(bytes(header)) + gzip.compress(bytes(1 << 26)) * 64)
    found = probe(path, max_bytes=1 << 30)
    assert "more than the limit of 1,073,741,824" in found["message"]
    assert "max_bytes" in found["message"]
    assert found["peak_mb"] < 500


def test_ten_times_the_payload_is_refused(tmp_path, raw_nifti, rng):
    data = rng.integers(0, 1000, (20, 20, 20)).astype(np.int16)
    payload = data.tobytes(order="F")
    path = tmp_path / "long.nii.gz"
    path.write_bytes(gzip.compress(raw_nifti(data) + payload * 9))
    with pytest.raises(ReadError, match="more bytes follow"):
        read_volume(path)


WORDS = [b"-1", b"0", b"nan", b"inf", b"1e400", b"99999999999999999999", b"9" * 5000, b"\xff\xfe",
         b"(", b"(1,2)", b"none", b"True", b"LIST", b"%d", b"../../etc/passwd", b"/etc/passwd",
         b"", b"\0", b"MET_FLOAT", b"double", b"gzip", b"raw", b"bzip2", b"1_0"]  # fmt: skip


def mutated(header, rng):
    """Return `header` with one to three random changes."""
    for _ in range(int(rng.integers(1, 4))):
        lines = header.split(b"\n")
        place = int(rng.integers(len(lines)))
        parts = lines[place].split(b" ")
        choice = rng.integers(6)
        if choice == 0:
            del lines[place]
        elif choice == 1:
            lines.insert(place, lines[int(rng.integers(len(lines)))])
        elif choice == 2:
            parts[int(rng.integers(len(parts)))] = WORDS[int(rng.integers(len(WORDS)))]
            lines[place] = b" ".join(parts)
        elif choice == 3:
            lines[place] += b" " + WORDS[int(rng.integers(len(WORDS)))]
        else:
            text = bytearray(b"\n".join(lines))
            text[int(rng.integers(len(text)))] = int(rng.integers(256))
            lines = bytes(text).split(b"\n")
        header = b"\n".join(lines)
    return header


@pytest.mark.parametrize(
    ("ending", "end"), [(".mha", b"LOCAL\n"), (".nrrd", b"\n\n"), (".nii", None)]
)
def test_500_crafted_headers_raise_only_our_errors(tmp_path, volume, rng, ending, end):
    path = tmp_path / f"a{ending}"
    write_volume(path, volume)
    content = path.read_bytes()
    split = 352 if end is None else content.index(end) + len(end)
    messages = []
    for _ in range(500):
        if end is None:
            broken = bytearray(content)
            for place in rng.integers(0, split, 2):
                broken[place] = rng.integers(256)
            path.write_bytes(broken)
        else:
            path.write_bytes(mutated(content[:split], rng) + content[split:])
        try:
            read_volume(path, max_bytes=1 << 24)
        except MedpipeError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(str(tmp_path) in text and "\n" not in text for text in messages)


DETACHED = {
    ".nhdr": "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nspacings: 1 1 1\nencoding: raw\n"
             "data file: {}\n",
    ".mhd": "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n"
            "ElementSpacing = 1 1 1\nElementDataFile = {}\n",
}  # fmt: skip


@pytest.mark.parametrize("ending", [".nhdr", ".mhd"])
def test_detached_data_stays_in_its_folder(tmp_path, ending):
    case = tmp_path / "case"
    (case / "inner").mkdir(parents=True)
    for place in (tmp_path / "secret.raw", case / "own.raw", case / "inner/deep.raw"):
        place.write_bytes(bytes(range(8)))
    (case / "link.raw").symlink_to(tmp_path / "secret.raw")
    (case / "circle.raw").symlink_to(case / "circle.raw")
    header = case / f"a{ending}"
    for name in ("own.raw", "inner/deep.raw"):
        header.write_text(DETACHED[ending].format(name))
        assert read_volume(header).data.ravel(order="F").tolist() == list(range(8))
    outside = ["../secret.raw", str(tmp_path / "secret.raw"), "../../etc/passwd", "/etc/passwd",
               "link.raw", "inner/../../secret.raw"]  # fmt: skip
    for name in outside:
        header.write_text(DETACHED[ending].format(name))
        with pytest.raises(ReadError, match="outside the folder"):
            read_volume(header)
    for name in ("none.raw", "circle.raw", "inner", "x" * 5000):
        header.write_text(DETACHED[ending].format(name))
        with pytest.raises(ReadError, match="data file"):
            read_volume(header)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("NRRD0004\ntype: block\ndimension: 3\nsizes: 2 2 2\nspacings: 1 1 1\nencoding: raw\n\n",
         "voxel type 'block'"),
        ("NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nspacings: 1 1 1\nencoding: hex\n\n",
         "encoding 'hex'"),
        ("NRRD0004\ntype: uint8\ndimension: 4\nsizes: 3 2 2 2\nspace: LPS\nspace directions: none "
         "(1,0,0) (0,1,0) (0,0,1)\nencoding: raw\n\n", "one 3-D image is needed"),
        ("NRRD0004\ntype: int16\ndimension: 3\nsizes: 2 2 2\nspacings: 1 1 1\nencoding: raw\n\n",
         "no 'endian'"),
    ],
)  # fmt: skip
def test_nrrd_kinds_that_are_not_read(tmp_path, header, reason):
    path = tmp_path / "a.nrrd"
    path.write_bytes(header.encode() + bytes(24))
    with pytest.raises(ReadError, match=reason):
        read_volume(path)
