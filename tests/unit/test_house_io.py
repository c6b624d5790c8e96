"""House rules of input and output, read from the syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOORS = ROOT / "src/pipeline/io"

#: Calls by the last names of the dotted path. `pipeline.io` may; nobody else.
FORBIDDEN = {
    "sitk.ReadImage", "sitk.WriteImage", "sitk.ImageFileReader", "sitk.ImageFileWriter",
    "sitk.ImageSeriesReader", "sitk.ImageSeriesWriter", "sitk.ReadTransform",
    "sitk.WriteTransform", "nib.load", "nib.save", "nibabel.load", "nibabel.save",
    "pydicom.dcmread", "pd.read_csv", "pd.read_table", "pd.read_pickle", "pd.read_excel",
    "pd.read_json", "np.load", "np.loadtxt", "np.genfromtxt", "np.fromfile", "np.memmap",
    "gzip.open", "tarfile.open", "zipfile.ZipFile", "yaml.load", "mmap.mmap",
    "tempfile.TemporaryFile",
}  # fmt: skip

#: Never, not even there: they run what a file says, or unpack where it says.
NEVER = {"torch.load", "joblib.load", "yaml.unsafe_load", "shutil.unpack_archive"}
NEVER_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal"}
NEVER_METHODS = {"extractall", "unpack_archive"}

#: Methods that put bytes on disk without a temporary file. Figures go through a buffer.
WRITES = {"write_text", "write_bytes", "to_csv", "to_excel", "to_pickle", "to_parquet", "tofile",
          "to_filename", "savetxt", "savez", "savez_compressed", "imsave"}  # fmt: skip

#: A lock is held open for writing as long as a run lasts; it is no result. Foreign checkpoints
#: come in by one door, as tensors and plain values.
EXCEPTIONS = {
    ("src/pipeline/runlock.py", "open"),
    ("src/pipeline/io/checkpoints.py", "torch.load(weights_only=True)"),
}


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *parts[::-1]]) if isinstance(node, ast.Name) else ""


def writes_to_disk(call):
    """Tell a write that skips `atomic_path`; one on a name called `temporary` does not."""
    if isinstance(call.func, ast.Attribute) and call.func.attr in WRITES:
        return dotted(call.func.value) != "temporary"
    if dotted(call.func) in ("open", "io.open"):
        mode = call.args[1:2]
    elif isinstance(call.func, ast.Attribute) and call.func.attr == "open":
        mode = call.args[:1]
    else:
        return False
    mode += [word.value for word in call.keywords if word.arg == "mode"]
    if dotted(call.func) == "temporary.open" or not mode:
        return False
    return not isinstance(mode[0], ast.Constant) or bool(set(str(mode[0].value)) & set("wax+"))


def weights_only(call):
    """Tell a call that states ``weights_only=True`` as a literal."""
    stated = [word.value for word in call.keywords if word.arg == "weights_only"]
    return bool(stated) and isinstance(stated[0], ast.Constant) and stated[0].value is True


def breaches(tree, is_door):
    """Yield (line, what) for each call that the rules forbid."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in NEVER_MODULES:
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            if (node.module or "").split(".")[0] in NEVER_MODULES or names & NEVER:
                yield node.lineno, node.module
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            method = node.func.attr if isinstance(node.func, ast.Attribute) else name
            never = name in NEVER or method in NEVER_METHODS
            if never or (not is_door and (name in FORBIDDEN or writes_to_disk(node))):
                yield node.lineno, (name or method) + "(weights_only=True)" * weights_only(node)


def sources():
    return sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])


def test_only_the_io_package_touches_data_files():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in sources()
        for line, what in breaches(ast.parse(path.read_text("utf-8")), path.is_relative_to(DOORS))
        if (path.relative_to(ROOT).as_posix(), what) not in EXCEPTIONS
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import load",
        "from torch import load",
        "sitk.ReadImage('a')",
        "sitk.ImageSeriesReader()",
        "sitk.WriteImage(a, 'a')",
        "nib.load('a')",
        "torch.load('a')",
        "torch.load('a', weights_only=True)",
        "archive.extractall('a')",
        "shutil.unpack_archive('a')",
        "open('a', 'w')",
        "open('a', mode='wb')",
        "path.open('w')",
        "path.open(mode='a')",
        "path.write_text('a')",
        "frame.to_csv('a')",
    ],
)
def test_the_rule_bites(line):
    assert list(breaches(ast.parse(line), is_door=False))


@pytest.mark.parametrize("argument", ["", ", weights_only=False", ", weights_only=safe"])
def test_even_the_door_of_checkpoints_loads_weights_only(argument):
    ((_, what),) = breaches(ast.parse(f"torch.load('a'{argument})"), is_door=True)
    assert ("src/pipeline/io/checkpoints.py", what) not in EXCEPTIONS


@pytest.mark.parametrize(
    "line", ["open('a')", "path.open('rb')", "write_text(path, 'a')", "temporary.write_text('a')"]
)
def test_the_rule_lets_good_code_pass(line):
    assert not list(breaches(ast.parse(line), is_door=False))
