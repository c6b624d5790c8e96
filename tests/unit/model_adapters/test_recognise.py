"""Models of other programs, given where one of medpipe is expected: what the user is told."""

import io
import tarfile
import time
import zipfile

import pytest
import torch
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import ReadError, SettingsError
from pipeline.model_adapters.recognise import foreign_archive, foreign_folder
from pipeline.model_folder import find_model

BUNDLE = ["spleen/LICENSE", "spleen/configs/inference.json", "spleen/configs/metadata.json",
          "spleen/models/model.pt", "spleen/docs/README.md"]  # fmt: skip
NNUNET = ["Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres/" + name
          for name in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth")]  # fmt: skip
V1 = ["3d_fullres/Task004/nnUNetTrainerV2__nnUNetPlansv2.1/" + name
      for name in ("plans.pkl", "fold_0/model_final_checkpoint.model")]  # fmt: skip


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def archive(path, names):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as target:
            for name in names:
                target.writestr(name, "{}")
        return path
    with tarfile.open(path, "w:gz") as target:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 2
            target.addfile(info, io.BytesIO(b"{}"))
    return path


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDPIPE_MODELS", str(tmp_path / "installed"))
    return tmp_path / "installed"


@pytest.mark.parametrize(("names", "words"), [
    (BUNDLE, r"a MONAI bundle, which is not imported .*segment IMAGE --model FOLDER/spleen`"),
    ([n.removeprefix("spleen/") for n in BUNDLE], r"a MONAI bundle.*--model FOLDER`"),
    (NNUNET, r"an nnU-Net results folder.*--model FOLDER/Dataset004_Hippocampus/nnUNetTrainer__nn"),
    (V1, "nnU-Net version 1, which does not run here"),
    (["net/data.pkl", "net/data/0", "net/version"], "checkpoint of PyTorch, which could run code"),
    (["scan/1.dcm", "scan/2.DCM"], r"DICOM images; unpack them .*segment FOLDER`"),
    (["a/readme.txt", "a/plans.json"], "holds 0 models where one is needed"),
    (["configs/a.json"], "holds 0 models where one is needed"),
])  # fmt: skip
@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_archives_of_others(tmp_path, user_folder, names, words, ending):
    path = archive(tmp_path / f"download{ending}", names)
    started = time.perf_counter()
    with pytest.raises(ReadError, match=words):
        run("models", "import", path)
    assert time.perf_counter() - started < 2.0
    assert not user_folder.exists()


def test_a_checkpoint_by_itself(tmp_path):
    torch.save({"w": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(ReadError, match="a checkpoint of PyTorch"):
        run("models", "import", tmp_path / "model.pt")


def test_an_archive_where_a_folder_is_wanted(tmp_path):
    path = archive(tmp_path / "bundle.zip", BUNDLE)
    with pytest.raises(ReadError, match=r"a file, and a model is a folder; `medpipe models import"):
        find_model(str(path))


def test_folders_above_the_model(tmp_path):
    for name in [*BUNDLE, *NNUNET]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(
        ReadError, match=r"nnU-Net results folder is below it: `--model .*3d_fullres"
    ):
        find_model(str(tmp_path / "Dataset004_Hippocampus"))
    assert foreign_folder(tmp_path / "spleen/docs") == ""
    (tmp_path / "spleen").rename(tmp_path / "A_bundle")
    assert "MONAI bundle is below it: `--model" in foreign_folder(tmp_path)
    with pytest.raises(ReadError, match=r"not a model: a folder with model\.json"):
        find_model(str(tmp_path / "A_bundle/docs"))


def test_a_folder_is_not_imported(tmp_path):
    from pipeline.model_folder import save_model
    from tests.unit.segment.stub_network import make_plan

    save_model(tmp_path / "mine", make_plan(), {"limits": torch.zeros(2)}, {})
    with pytest.raises(SettingsError, match=r"a folder, not an archive.*`zip -r mine.zip"):
        run("models", "import", tmp_path / "mine")


def test_names_alone_decide():
    assert foreign_archive([]) == ""
    assert foreign_archive(["model.json", "weights.safetensors"]) == ""
