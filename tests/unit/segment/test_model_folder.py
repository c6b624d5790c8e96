"""Models as files: whole and checked, or refused; archives unpacked whole, or not at all."""

import ast
import gzip
import hashlib
import io
import json
import os
import pickle
import stat
import struct
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
import torch

from pipeline.errors import ReadError
from pipeline.model_folder import (
    DOCUMENT,
    WEIGHTS,
    find_model,
    import_archive,
    load_model,
    models_in,
    read_entry,
    save_model,
)
from pipeline.segment import networks
from tests.unit.segment.stub_network import Threshold, make_plan

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def stub(monkeypatch):
    """`build` gives a stub with as many limits as there are labels."""

    def build(name, *, channels, classes, options):
        assert (name, channels) == ("stub", 1)
        return Threshold(tuple(float(n) for n in range(classes - 1)), **options)

    monkeypatch.setattr(networks, "build", build)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "models" / "stub-model"
    weights = {"limits": torch.tensor([0.25, 0.75])}
    save_model(path, make_plan(), weights, {"licence": "CC0", "metrics": {"dice": 0.9}})
    return path


def test_a_round_trip(folder):
    model = load_model(folder)
    assert model.plan == make_plan()
    assert list(model.plan.labels) == ["shell", "core"]  # the classes, not the alphabet
    assert model.name == "stub-model"
    assert model.card["metrics"] == {"dice": 0.9}
    assert not model.network.training
    assert model.network.limits.tolist() == [0.25, 0.75]
    assert sorted(p.name for p in folder.iterdir()) == [DOCUMENT, WEIGHTS]
    entry = read_entry(folder)
    assert entry.parameters == 2
    assert entry.sha256 == hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def test_same_weights_same_bytes(folder, tmp_path):
    save_model(tmp_path / "b", make_plan(), {"limits": torch.tensor([0.25, 0.75])},
               {"licence": "CC0", "metrics": {"dice": 0.9}})  # fmt: skip
    for name in (DOCUMENT, WEIGHTS):
        assert (tmp_path / "b" / name).read_bytes() == (folder / name).read_bytes()


class Evil:
    """What a pickle may do when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def evil_bytes(path, kind):
    if kind == "pickle":
        return pickle.dumps(Evil(path))
    buffer = io.BytesIO()
    torch.save({"limits": Evil(path)}, buffer)
    return buffer.getvalue()


def put_weights(folder, content, *, right_sha):
    (folder / WEIGHTS).write_bytes(content)
    if right_sha:
        document = json.loads((folder / DOCUMENT).read_text())
        document["sha256"] = hashlib.sha256(content).hexdigest()
        (folder / DOCUMENT).write_text(json.dumps(document))


@pytest.mark.parametrize("kind", ["pickle", "torch"])
@pytest.mark.parametrize("right_sha", [True, False])
def test_a_pickle_never_runs(folder, tmp_path, kind, right_sha):
    made = tmp_path / "made"
    put_weights(folder, evil_bytes(made, kind), right_sha=right_sha)
    started = time.perf_counter()
    with pytest.raises(ReadError, match="safetensors" if right_sha else "sha256"):
        load_model(folder)
    assert time.perf_counter() - started < 2.0
    assert not made.exists()


@pytest.mark.parametrize("right_sha", [True, False])
@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_truncated_weights(folder, keep, right_sha):
    content = (folder / WEIGHTS).read_bytes()[:keep]
    put_weights(folder, content, right_sha=right_sha)
    with pytest.raises(ReadError, match=WEIGHTS):
        load_model(folder)


def test_a_header_that_claims_more_than_there_is(folder):
    header = json.dumps({"limits": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    content = struct.pack("<Q", len(header)) + header.encode()
    put_weights(folder, content, right_sha=True)
    with pytest.raises(ReadError, match="not a safetensors file"):
        load_model(folder)


def test_weights_of_another_architecture(folder):
    document = json.loads((folder / DOCUMENT).read_text())
    document["plan"]["labels"] = [["a", 1], ["b", 2], ["c", 3]]
    (folder / DOCUMENT).write_text(json.dumps(document))
    started = time.perf_counter()
    with pytest.raises(ReadError, match=r"another architecture than 'stub'.*1 of another shape"):
        load_model(folder)
    assert time.perf_counter() - started < 2.0
    save_model(folder, make_plan(), {"bounds": torch.zeros(2)}, {})
    with pytest.raises(ReadError, match=r"1 tensors missing, 1 unknown.*first: limits"):
        load_model(folder)


@pytest.mark.parametrize("change", [
    {"format": 2}, {"plan": {}}, {"plan": None}, {"card": None}, {"sha256": None},
    {"parameters": "many"},
])  # fmt: skip
def test_a_document_that_is_none(folder, change):
    document = json.loads((folder / DOCUMENT).read_text()) | change
    (folder / DOCUMENT).write_text(json.dumps(document))
    with pytest.raises(ReadError):
        load_model(folder)


def test_options_that_build_nothing(folder):
    document = json.loads((folder / DOCUMENT).read_text())
    document["plan"]["options"] = {"no_such": 1}
    (folder / DOCUMENT).write_text(json.dumps(document))
    with pytest.raises(ReadError, match="cannot be built"):
        load_model(folder)


def test_what_is_no_model_folder(tmp_path):
    with pytest.raises(ReadError, match=r"not a model: a folder with model.json"):
        load_model(tmp_path)


def test_models_are_found_by_name_or_folder(folder, tmp_path, caplog):
    (folder.parent / "broken").mkdir()
    (folder.parent / "broken" / DOCUMENT).write_text("{")
    assert [entry.name for entry in models_in([folder.parent, tmp_path])] == ["stub-model"]
    assert "broken" in caplog.text
    assert find_model("stub-model", [folder.parent]) == folder
    assert find_model(str(folder), []) == folder
    with pytest.raises(ReadError, match=r"'other': neither .*installed: stub-model"):
        find_model("other", [folder.parent])


def loads_that_run_code(source):
    """Yield the lines that load with torch without ``weights_only=True``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            named = owner == "torch"
            if owner.startswith("torch.") and node.func.attr.startswith("load"):
                yield node.lineno  # torch.jit.load, torch.hub.load, torch.package ...
            safe = any(
                word.arg == "weights_only"
                and isinstance(word.value, ast.Constant)
                and word.value.value is True
                for word in node.keywords
            )
            if named and node.func.attr == "load" and not safe:
                yield node.lineno
        if isinstance(node, ast.keyword) and node.arg == "weights_only":
            stated = node.value.value if isinstance(node.value, ast.Constant) else None
            if stated is not True:
                yield node.value.lineno


def test_nothing_is_loaded_that_could_run():
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]
    found = [f"{p}:{n}" for p in files for n in loads_that_run_code(p.read_text("utf-8"))]
    assert len(files) > 100
    assert found == []


@pytest.mark.parametrize(("source", "bites"), [
    ("torch.load(p)", True),
    ("torch.load(p, weights_only=False)", True),
    ("torch.load(p, weights_only=safe)", True),
    ("load(p, weights_only=False)", True),
    ("torch.jit.load(p)", True),
    ("torch.hub.load_state_dict_from_url(p)", True),
    ("torch.load(p, weights_only=True)", False),
])  # fmt: skip
def test_the_rule_bites(source, bites):
    assert bool(list(loads_that_run_code(source))) == bites


# --- archives ---


def zip_of(path, members, *, attributes=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (attributes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return path


def tar_of(path, members):
    """Members are (name, content) or TarInfo."""
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return path


def good_members(folder, prefix="mine/"):
    return [(prefix + name, (folder / name).read_bytes()) for name in (DOCUMENT, WEIGHTS)]


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_an_archive_is_installed(folder, tmp_path, make):
    root = tmp_path / "installed"
    path = make(tmp_path / "mine-1.0.tar.gz", [*good_members(folder), ("mine/README.md", b"hello")])
    found = import_archive(path, root)
    assert found == root / "mine"
    assert sorted(p.name for p in found.iterdir()) == [DOCUMENT, WEIGHTS]
    assert [p.name for p in root.iterdir()] == ["mine"]
    assert load_model(found).network.limits.tolist() == [0.25, 0.75]
    assert import_archive(path, root) == found  # again: nothing to do
    flat = make(tmp_path / "flat-1.0.tar.gz", good_members(folder, ""))
    assert import_archive(flat, root).name == "flat-1.0"


def test_another_model_of_the_same_name_stays(folder, tmp_path):
    root = tmp_path / "installed"
    path = zip_of(tmp_path / "a.zip", good_members(folder))
    import_archive(path, root)
    save_model(folder, make_plan(), {"limits": torch.tensor([0.1, 0.2])}, {})
    other = zip_of(tmp_path / "b.zip", good_members(folder))
    with pytest.raises(ReadError, match="another model of that name"):
        import_archive(other, root)
    assert load_model(root / "mine").network.limits.tolist() == [0.25, 0.75]
    assert [p.name for p in root.iterdir()] == ["mine"]


BAD_NAMES = [
    "../outside", "mine/../../outside", "/tmp/outside", "mine/..", "..\\outside", "C:\\outside",
    "~/outside", "mine/../mine/x", "//server/x",
]  # fmt: skip


def refused(path, tmp_path, words="refused"):
    """The import fails, quickly, and nothing is left anywhere."""
    root = tmp_path / "sandbox" / "installed"
    root.mkdir(parents=True)
    before = sorted(str(p) for p in tmp_path.rglob("*"))
    started = time.perf_counter()
    with pytest.raises(ReadError, match=words):
        import_archive(path, root)
    assert time.perf_counter() - started < 2.0
    assert list(root.iterdir()) == []
    assert sorted(str(p) for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_a_member_that_escapes(folder, tmp_path, make, name):
    path = make(tmp_path / "bad.tar.gz", [*good_members(folder), (name, b"x")])
    refused(path, tmp_path, "refused: member")


@pytest.mark.parametrize("member", [
    special("mine/link", tarfile.SYMTYPE, "/etc"), special("mine/link", tarfile.LNKTYPE, "../x"),
    special("mine/null", tarfile.CHRTYPE), special("mine/disk", tarfile.BLKTYPE),
    special("mine/pipe", tarfile.FIFOTYPE),
])  # fmt: skip
def test_links_and_devices_in_a_tar(folder, tmp_path, member):
    members = [member, ("mine/link/passwd", b"x"), *good_members(folder)]
    refused(tar_of(tmp_path / "bad.tar.gz", members), tmp_path, "a link or a device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip(folder, tmp_path, kind):
    members = [("mine/link", b"/etc"), *good_members(folder)]
    path = zip_of(tmp_path / "bad.zip", members, attributes={"mine/link": kind | 0o777})
    refused(path, tmp_path, "a link or a device")


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_a_file_through_a_file_and_a_file_twice(folder, tmp_path, make):
    members = [*good_members(folder), (f"mine/{DOCUMENT}/x", b"x")]
    refused(make(tmp_path / "a.tar.gz", members), tmp_path, "inside something that is a file")
    twice = make(tmp_path / "b.tar.gz", [*good_members(folder), ("MINE/model.json", b"{}")])
    with pytest.raises(ReadError, match="there twice"):
        import_archive(twice, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_too_many_members(tmp_path, make):
    path = make(tmp_path / "many.tar.gz", [(f"f{n}", b"") for n in range(10_001)])
    refused(path, tmp_path, "more than 10,000 members")


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_a_bomb(folder, tmp_path, make):
    zeros = bytes(48 << 20)
    path = make(tmp_path / "bomb.tar.gz", [*good_members(folder), ("mine/zeros", zeros)])
    assert len(zeros) / path.stat().st_size > 1000
    refused(path, tmp_path, "more than 1000:1")


def test_a_tar_that_claims_a_terabyte(tmp_path):
    info = tarfile.TarInfo("mine/huge")
    info.size = 1 << 40
    path = tmp_path / "huge.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf() + bytes(4096)))
    refused(path, tmp_path, "refused: unpacks to more than")


def test_a_zip_whose_sizes_lie(folder, tmp_path):
    path = zip_of(tmp_path / "lie.zip", [*good_members(folder), ("mine/zeros", bytes(50_000_000))])
    content = path.read_bytes().replace(struct.pack("<I", 50_000_000), struct.pack("<I", 10))
    path.write_bytes(content)
    refused(path, tmp_path, "damaged")


@pytest.mark.parametrize("make", [zip_of, tar_of])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_truncated_archive(folder, tmp_path, make, part):
    noise = os.urandom(20_000)
    path = make(tmp_path / "cut.tar.gz", [*good_members(folder), ("mine/notes", noise)])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    refused(path, tmp_path, "damaged")


def test_what_is_no_archive_or_holds_no_model(folder, tmp_path):
    (tmp_path / "text.zip").write_bytes(b"hello")
    refused(tmp_path / "text.zip", tmp_path, "neither a zip nor a tar.gz")
    with pytest.raises(ReadError, match="holds 0 models"):
        import_archive(zip_of(tmp_path / "none.zip", [("a", b"x")]), tmp_path / "x")
    two = [*good_members(folder, "a/"), *good_members(folder, "b/")]
    with pytest.raises(ReadError, match="holds 2 models"):
        import_archive(zip_of(tmp_path / "two.zip", two), tmp_path / "x")
    swapped = [(n, c if n.endswith("json") else c + b"\0") for n, c in good_members(folder)]
    with pytest.raises(ReadError, match="sha256"):
        import_archive(zip_of(tmp_path / "swapped.zip", swapped), tmp_path / "x")
    with pytest.raises(ReadError, match="cannot name a model"):
        import_archive(zip_of(tmp_path / "odd.zip", good_members(folder, "-rf/")), tmp_path / "x")
    assert not (tmp_path / "x").exists()
