"""A trained network as a folder: model.json (plan, card, sha256) and weights.safetensors."""

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import MedpipeError, ReadError, SettingsError
from pipeline.io.archives import unpacked
from pipeline.io.documents import read_json, write_json
from pipeline.io.tensors import read_tensors, write_tensors
from pipeline.model_adapters.recognise import foreign_archive, foreign_folder
from pipeline.segment.plan import Plan
from pipeline.segment.trained import Model

if TYPE_CHECKING:
    import torch

    from pipeline.segment.networks import Network

LOGGER = logging.getLogger(__name__)

DOCUMENT = "model.json"
WEIGHTS = "weights.safetensors"

_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ARCHIVE_ENDING = re.compile(r"\.(zip|tgz|tar\.gz)$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Entry:
    """What a model's document says, weights unread.

    Attributes
    ----------
    name, folder, plan, card
        As in `Model`.
    sha256 : str
        Of the file of weights.
    parameters : int
        Number of values in them.
    """

    name: str
    folder: Path
    plan: Plan
    card: Mapping[str, Any]
    sha256: str
    parameters: int


def save_model(
    folder: Path, plan: Plan, weights: Mapping[str, "torch.Tensor"], card: Mapping[str, Any]
) -> None:
    """Write a model's folder: weights first, then the document that holds their sha256.

    A kill in between leaves a document and weights that do not belong together, which
    `load_model` refuses.

    Parameters
    ----------
    folder : Path
        Made when missing; its name is the model's.
    plan : Plan
        As in training.
    weights : mapping of str to tensor
        The network's `state_dict()`.
    card : mapping
        JSON values: "description", "modality", "licence", "training_data", "metrics",
        "mirror_axes" (network axes along which anatomy may be mirrored), ...
    """
    sha256 = write_tensors(folder / WEIGHTS, weights)
    document = {
        "format": _FORMAT,
        "plan": plan.to_json(),
        "sha256": sha256,
        "parameters": sum(int(tensor.numel()) for tensor in weights.values()),
        "card": dict(card),
    }
    write_json(folder / DOCUMENT, document)


def read_entry(folder: Path) -> Entry:
    """Return what a model's document says.

    Raises
    ------
    ReadError
        No model folder, or a document that lacks something.
    """
    path = folder / DOCUMENT
    if not path.is_file():
        raise ReadError(
            f"{folder}: not a model: a folder with {DOCUMENT} and {WEIGHTS} is needed; see "
            "`medpipe models` for what is installed"
        )
    document = read_json(path)
    try:
        if document["format"] != _FORMAT:
            raise ReadError(f"{path}: format {document['format']}: this version reads {_FORMAT}")
        return Entry(
            name=folder.resolve().name,
            folder=folder,
            plan=Plan.from_json(document["plan"]),
            card=dict(document["card"]),
            sha256=str(document["sha256"]),
            parameters=int(document["parameters"]),
        )
    except (KeyError, TypeError, ValueError, SettingsError) as error:
        raise ReadError(
            f"{path}: not a model's document ({type(error).__name__}: {error}); import it again"
        ) from error


def load_model(folder: Path, device: "torch.device | str" = "cpu") -> Model:
    """Return the model of a folder, ready to use on a device.

    Raises
    ------
    ReadError
        No model, weights of another sha256, truncated, or of another architecture.
    """
    entry = read_entry(folder)
    weights = read_tensors(folder / WEIGHTS, sha256=entry.sha256)
    network = _built(entry)
    _check_weights(folder / WEIGHTS, network.state_dict(), weights, entry.plan.network)
    network.load_state_dict(weights)
    return Model(entry.plan, network.to(device).eval(), entry.card, entry.name)


def search_path() -> list[Path]:
    """Return the folders that models are looked for in: the package's own, then the user's."""
    return [Path(__file__).parent / "models", *user_folders()]


def user_folders() -> list[Path]:
    """Return the folders of MEDPIPE_MODELS, or the one in the user's home."""
    stated = [Path(p) for p in os.environ.get("MEDPIPE_MODELS", "").split(os.pathsep) if p]
    return stated or [Path.home() / ".local/share/medpipe/models"]


def models_in(paths: Iterable[Path]) -> list[Entry]:
    """Return the models in some folders, by name; the first of a name wins, damaged are named."""
    found: dict[str, Entry] = {}
    for root in paths:
        for document in sorted(root.glob(f"*/{DOCUMENT}")):
            if document.parent.name.startswith("."):
                continue
            try:
                entry = read_entry(document.parent)
            except MedpipeError as error:
                LOGGER.warning("passed over: %s", error)
                continue
            found.setdefault(entry.name, entry)
    return [found[name] for name in sorted(found)]


def find_model(name: str, paths: Iterable[Path] | None = None) -> Path:
    """Return the folder of a model, given by that folder or by its name.

    Raises
    ------
    ReadError
        No model of that name; says which there are.
    """
    entries = models_in(search_path() if paths is None else paths)
    for entry in entries:
        if entry.name == name:
            return entry.folder
    if Path(name).is_file():
        raise ReadError(
            f"{name}: a file, and a model is a folder; `medpipe models import {name}` installs an "
            "archive"
        )
    if Path(name).is_dir():
        foreign = "" if (Path(name) / DOCUMENT).is_file() else foreign_folder(Path(name))
        if foreign:
            raise ReadError(f"{name}: not a model, but {foreign}")
        return read_entry(Path(name)).folder
    there = ", ".join(entry.name for entry in entries) or "none"
    raise ReadError(
        f"model {name!r}: neither a folder nor installed (installed: {there}); "
        "`medpipe models import FILE` installs one"
    )


def import_archive(path: Path, target_root: Path) -> Path:
    """Install the model of a zip or tar.gz archive; return its folder.

    The archive holds model.json and weights.safetensors, at the top or in one folder. The model
    is complete under its name or not there at all.

    Raises
    ------
    ReadError
        An archive that is refused (see `pipeline.io.archives`), holds no model or two, or one
        whose weights do not match; or another model of that name is there already.
    """
    with unpacked(path, target_root) as folder:
        documents = sorted([*folder.glob(DOCUMENT), *folder.glob(f"*/{DOCUMENT}")])
        if not documents:
            files = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
            foreign = foreign_archive(files)
            if foreign:
                raise ReadError(f"{path}: no model of medpipe but {foreign}")
        if len(documents) != 1:
            raise ReadError(
                f"{path}: holds {len(documents)} models where one is needed: {DOCUMENT} and "
                f"{WEIGHTS} at the top or in one folder"
            )
        inside = documents[0].parent
        entry = read_entry(inside)
        read_tensors(inside / WEIGHTS, sha256=entry.sha256)
        target = target_root / _install_name(path, folder, inside)
        if target.exists():
            if read_entry(target).sha256 == entry.sha256:
                return target
            raise ReadError(f"{target}: another model of that name is installed; remove it first")
        clean = folder / ".complete"
        clean.mkdir()
        for name in (DOCUMENT, WEIGHTS):
            os.replace(inside / name, clean / name)
        os.rename(clean, target)
        return target


def _install_name(path: Path, folder: Path, inside: Path) -> str:
    """Return the name of the folder in the archive, or of the archive where it has none."""
    name = inside.name if inside != folder else _ARCHIVE_ENDING.sub("", path.name)
    if not _NAME.fullmatch(name):
        raise ReadError(
            f"{path}: {name!r} cannot name a model; use letters, digits, '.', '_' and '-', and "
            "begin with a letter or digit"
        )
    return name


def _built(entry: Entry) -> "Network":
    from pipeline.segment.networks import build

    plan = entry.plan
    try:
        return build(plan.network, channels=1, classes=plan.classes, options=plan.options)
    except (TypeError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise ReadError(
            f"{entry.folder / DOCUMENT}: network {plan.network!r} cannot be built with its options "
            f"({error}); import the model again"
        ) from error


def _check_weights(
    path: Path, wanted: Mapping[str, Any], found: Mapping[str, Any], network: str
) -> None:
    """Say in one line how weights differ from those of the architecture."""
    missing = sorted(set(wanted) - set(found))
    surplus = sorted(set(found) - set(wanted))
    shaped = sorted(n for n in set(wanted) & set(found) if wanted[n].shape != found[n].shape)
    if missing or surplus or shaped:
        first = next(iter([*missing, *shaped, *surplus]))
        raise ReadError(
            f"{path}: weights of another architecture than {network!r}: {len(missing)} tensors "
            f"missing, {len(surplus)} unknown, {len(shaped)} of another shape (first: {first}); "
            "plan and weights do not belong together"
        )
