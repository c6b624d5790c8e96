"""`medpipe segment --model`: trained networks on one image."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.common import beside, stem
from pipeline.errors import EmptyRegionError, SettingsError

if TYPE_CHECKING:
    from pipeline.segment.predict import Prediction, PredictSettings
    from pipeline.types import Array3D, Volume

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkOptions:
    """The flags of the verb that concern networks."""

    models: str
    device: str
    overlap: float
    window: tuple[int, int, int] | None
    mirror: bool
    uncertainty: bool
    largest_piece: bool
    piece_mm3: float
    hole_mm3: float
    dicom_seg: Path | None
    phase: int | None
    allow_empty: bool
    threads: int

    @property
    def less_memory(self) -> str:
        """What to do when memory runs out."""
        if self.models.startswith("totalsegmentator"):
            return "crop the image first, or use a machine with more memory"
        fewer = "fewer models at once, " if "," in self.models else ""
        fewer += "no --uncertainty, " if self.uncertainty else ""
        return (
            f"give smaller windows (`--window 64,64,64`, or less), {fewer}crop or resample the "
            "image first, or use a machine with more memory"
        )


def segment_by_network(image: Path, out: Path | None, options: NetworkOptions) -> list[Path]:
    """Segment an image by the named models; return what was written, the mask first."""
    import torch

    from pipeline.io import write_volume
    from pipeline.provenance import write_sidecars
    from pipeline.segment.label_rules import LabelRules
    from pipeline.segment.predict import PredictSettings

    torch.set_num_threads(options.threads)
    settings = PredictSettings(
        device=_device(options.device),
        overlap=options.overlap,
        window=options.window,
        mirror=options.mirror,
        uncertainty=options.uncertainty,
        rules=LabelRules(options.largest_piece, options.piece_mm3, options.hole_mm3),
    )
    names = [name.strip() for name in options.models.split(",")]
    answer = _answer(names, _image(image, options.phase), settings)
    found = answer.found
    for warning in found.warnings:
        LOGGER.warning("%s: %s", image, warning)
    if not any(found.volume_mm3.values()) and not options.allow_empty:
        raise EmptyRegionError(
            f"{image}: {options.models} finds none of {', '.join(found.volume_mm3)}. To take that "
            "as a result and write an empty mask, add --allow-empty"
        )
    target = out or beside(image, "_segmentation.nii.gz")
    written = [target, *_write_maps(target, found)]
    write_volume(target, found.labels)
    if options.dicom_seg is not None:
        values, phase = answer.labels, options.phase
        write_dicom(options.dicom_seg, found.labels, image, values, options.models, phase)
        written.append(options.dicom_seg)
    write_sidecars(
        written,
        block="segment",
        inputs=[image, *answer.folders],
        settings={
            "method": "network",
            **asdict(settings),
            "threads": options.threads,
            "phase": options.phase,
        },
        measured=_measured(found, answer.models),
    )
    return written


def refuse_flags(flags: Mapping[str, Any]) -> None:
    """Refuse flags of networks that are given where no network runs."""
    given = [flag for flag, value in flags.items() if value]
    if given:
        raise SettingsError(
            f"{', '.join(given)}: of networks alone; name one with --model (see `medpipe models`), "
            "or leave it out"
        )


def name_fitting_models(data: "Array3D") -> None:
    """Say which installed models fit an image's kind, if any does."""
    from pipeline.model_folder import models_in, search_path
    from pipeline.segment.suitability import kind_of_image, modalities

    kind = kind_of_image(data)
    names = [e.name for e in models_in(search_path()) if kind in modalities(e.card)]
    if names:
        LOGGER.info("models for this kind of image (%s): --model %s", kind, ", ".join(names))


@dataclass(frozen=True)
class _Answer:
    """A prediction and what it was made by: folders, and name and sha256 of weights."""

    found: "Prediction"
    labels: Mapping[str, int]
    folders: list[Path]
    models: list[dict[str, Any]]


def _answer(names: list[str], image: "Volume", settings: "PredictSettings") -> _Answer:
    """Run models of our own, or one of another program."""
    from pipeline.model_adapters import kind_of

    foreign = [name for name in names if kind_of(name)]
    if not foreign:
        return _own_answer(names, image, settings)
    if len(names) > 1:
        raise SettingsError(
            f"--model {','.join(names)}: {foreign[0]} is of another program and forms no ensemble "
            "with others; run it alone"
        )
    from pipeline.model_adapters import segment

    outcome = segment(names[0], image, settings)
    models = [
        {"name": f"{Path(names[0]).name}/{path}", "weights_sha256": sha256}
        for path, sha256 in outcome.weights.items()
    ]
    return _Answer(outcome.prediction, outcome.labels, list(outcome.documents), models)


def _own_answer(names: list[str], image: "Volume", settings: "PredictSettings") -> _Answer:
    from pipeline.model_folder import find_model, load_model, read_entry
    from pipeline.segment.predict import predict
    from pipeline.segment.suitability import misfits

    folders = [find_model(name) for name in names]
    models = [load_model(folder) for folder in folders]
    entries = [read_entry(folder) for folder in folders]
    found = predict(image, models, settings)
    odd = dict.fromkeys(words for model in models for words in misfits(image, model.card))
    return _Answer(
        replace(found, warnings=(*odd, *found.warnings)),
        models[0].plan.labels,
        folders,
        [{"name": e.name, "weights_sha256": e.sha256} for e in entries],
    )


def _measured(found: "Prediction", models: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "method": "network",
        "models": models,
        "status": "found" if any(found.volume_mm3.values()) else "empty",
        "voxels": int((found.labels.data != 0).sum()),
        "volume_mm3": sum(found.volume_mm3.values()),
        "label_volume_mm3": found.volume_mm3,
        "label_volume_cv": {k: v if v == v else None for k, v in found.volume_cv.items()},  # NaN
        "warnings": list(found.warnings),
        "device": found.device,
        "window": list(found.patch),
    }


def _write_maps(target: Path, found: "Prediction") -> list[Path]:
    from pipeline.io import write_volume

    maps: dict[str, Volume | None] = {"entropy": found.entropy, "spread": found.spread}
    written = []
    for name, volume in maps.items():
        if volume is not None:
            path = target.with_name(f"{stem(target)}_{name}.nii.gz")
            write_volume(path, volume)
            written.append(path)
    return written


def write_dicom(
    path: Path,
    labels: "Volume",
    image: Path,
    names: Mapping[str, int],
    method: str,
    phase: int | None,
) -> None:
    """Write labels as DICOM SEG on the DICOM image that they were found in."""
    from pipeline.io.dicom_seg_write import write_segmentation

    write_segmentation(path, labels, image, names, algorithm=f"medpipe {method}", phase=phase)


def check_dicom(image: Path, dicom_seg: Path | None, *, drawn: Path | None) -> None:
    """Refuse before anything is computed what could not be written after it."""
    if dicom_seg is None:
        return
    from pipeline.io.kinds import kind_of

    if drawn is not None:
        raise SettingsError(
            "--dicom-seg says that a program found the region, and --mask brings one from "
            "elsewhere; leave one of them out"
        )
    if kind_of(image) != "dicom":
        raise SettingsError(
            f"--dicom-seg refers to the slices of a DICOM series, and {image} is none; leave it "
            "out, or give the folder of the series"
        )
    if dicom_seg.suffix.lower() != ".dcm":
        raise SettingsError(f"--dicom-seg {dicom_seg}: give a name that ends in .dcm")


def _image(path: Path, phase: int | None) -> "Volume":
    from pipeline.io import read_series, read_volume

    if phase is None:
        return read_volume(path)
    series = read_series(path)
    if not 0 <= phase < len(series.time_s):
        raise SettingsError(f"--phase {phase}: {path} has {len(series.time_s)}, counted from 0")
    return series.image(phase)


def _device(wanted: str) -> str:
    """Return the device to use; "auto" takes a CUDA device where there is one."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(wanted).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise SettingsError(f"--device {wanted}: use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"--device {wanted}: no CUDA device is usable here; use --device cpu")
    return wanted
