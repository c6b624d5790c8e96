"""TotalSegmentator, where it is installed: its own program, in a process without a network.

Wasserthal et al., "TotalSegmentator: Robust Segmentation of 104 Anatomic Structures in CT
Images", Radiology: Artificial Intelligence 2023. It runs with the user's own weights: a download is
refused in its process, and so is a checkpoint that would run code.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from pipeline.errors import MedpipeError, ReadError, SettingsError
from pipeline.grid_difference import check_same_grid
from pipeline.io.documents import read_json
from pipeline.io.images import read_labels, write_volume
from pipeline.model_adapters.adapted import Outcome
from pipeline.model_adapters.totalsegmentator_child import NO_WEIGHTS
from pipeline.preprocess.checks import check_finite
from pipeline.provenance import sha256
from pipeline.segment.label_rules import apply_rules
from pipeline.segment.predict import Prediction, PredictSettings
from pipeline.types import Volume

#: Its own variable for the folder of weights.
_PATH = "TOTALSEG_WEIGHTS_PATH"

_NAME = "totalsegmentator"
_TASK = "total"


def segment(name: str, image: Volume, settings: PredictSettings) -> Outcome:
    """Segment an image by TotalSegmentator.

    Parameters
    ----------
    name : str
        Its folder of weights (task "total"), or "totalsegmentator[:TASK]" for the folder of
        TOTALSEG_WEIGHTS_PATH or ~/.totalsegmentator/nnunet/results.
    image : Volume
        In any orientation and spacing.
    settings : PredictSettings
        Device and rules; it has windows, mirrors and members of its own.

    Raises
    ------
    SettingsError
        It is not installed, or asked for a map that it does not give.
    ReadError
        It has no weights, or it fails; with its last words.
    """
    if importlib.util.find_spec(_NAME) is None:
        raise SettingsError(
            f"{name}: TotalSegmentator is not installed; `pip install TotalSegmentator` adds it, "
            "and its weights come with `totalseg_download_weights`"
        )
    if settings.uncertainty or settings.mirror or settings.window:
        raise SettingsError(
            f"{name}: TotalSegmentator gives no uncertainty, does not mirror, and has windows of "
            "its own"
        )
    check_finite(image.data, "segmentation")
    folder, task = _weights(name)
    found, classes = _run(image, folder, task, settings.device)
    check_same_grid(image.grid, found.grid, ("the image", "TotalSegmentator's mask"))
    voxel = image.grid.voxel_volume_mm3
    data = apply_rules(found.data, voxel, settings.rules)
    values, counts = np.unique(data, return_counts=True)
    amount = dict(zip(values.tolist(), counts.tolist(), strict=True))
    volumes = {label: amount.get(value, 0) * voxel for label, value in classes.items()}
    absent = [label for label, volume in volumes.items() if not volume]
    prediction = Prediction(
        labels=Volume(data, image.grid),
        volume_mm3=volumes,
        volume_cv={},
        entropy=None,
        spread=None,
        warnings=(f"no voxel of {', '.join(absent)} was found",) if absent else (),
        device=settings.device,
        patch=(0, 0, 0),
    )
    used = sorted(folder.glob("Dataset*/*/fold_*/checkpoint_final.pth"))
    weights = {str(path.relative_to(folder)): sha256(path) for path in used}
    return Outcome(prediction, classes, weights)


def _weights(name: str) -> tuple[Path, str]:
    """Return the folder of weights and the task."""
    if name.split(":")[0] != _NAME or Path(name).is_dir():
        folder, task = Path(name), _TASK
    else:
        home = Path.home() / ".totalsegmentator/nnunet/results"
        folder = Path(os.environ.get(_PATH) or home)
        task = name.partition(":")[2] or _TASK
    if next(folder.glob("Dataset*"), None) is None:
        raise ReadError(
            f"{folder}: holds no weights of TotalSegmentator (folders Dataset...); get them with "
            f"`totalseg_download_weights -t {task}`, or set {_PATH} to where they are"
        )
    return folder.resolve(), task


def _run(image: Volume, folder: Path, task: str, device: str) -> tuple[Volume, dict[str, int]]:
    """Return TotalSegmentator's mask and the names of its values."""
    with tempfile.TemporaryDirectory(prefix="medpipe-") as place:
        source, mask, classes = (Path(place) / n for n in ("image.nii.gz", "mask.nii.gz", "c.json"))
        write_volume(source, image)
        command = [
            sys.executable, "-m", "pipeline.model_adapters.totalsegmentator_child",
            str(source), str(mask), str(classes), task, _device(device),
        ]  # fmt: skip
        done = subprocess.run(
            command, env=_environment(folder), capture_output=True, text=True, check=False
        )
        if done.returncode < 0:
            raise _killed(-done.returncode, folder, task)
        if done.returncode != 0:
            raise _failure(done.stderr, folder, task)
        return read_labels(mask), {str(k): int(v) for k, v in read_json(classes).items()}


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of the process; TORCH_... makes each torch.load a safe one."""
    return {
        **os.environ,
        _PATH: str(folder),
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


def _device(device: str) -> str:
    """Return a device under the name that TotalSegmentator gives it."""
    return device.replace("cuda", "gpu")


def _killed(number: int, folder: Path, task: str) -> MedpipeError:
    words = f"{folder}: TotalSegmentator was killed on task {task!r} ({signal.strsignal(number)})"
    if number == signal.SIGKILL:
        words += (
            ": most often the system does that when memory runs out; crop the image first, or use "
            "a machine with more memory"
        )
    return ReadError(words)


def _failure(words: str, folder: Path, task: str) -> MedpipeError:
    lines = [line for line in words.splitlines() if line.strip()] or ["no message"]
    if NO_WEIGHTS in words:
        return ReadError(
            f"{folder}: the weights of task {task!r} are not complete there, and nothing is "
            f"downloaded; get them with `totalseg_download_weights -t {task}`"
        )
    return ReadError(f"{folder}: TotalSegmentator failed on task {task!r}: {lines[-1][:300]}")
