"""Models of other programs, run with the user's own weights: MONAI, nnU-Net, TotalSegmentator.

Nothing is downloaded, nothing stands in for what is missing, and no file of a model is run: see
`pipeline.io.checkpoints`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.model_adapters.adapted import Outcome
    from pipeline.segment.predict import PredictSettings
    from pipeline.types import Volume

__all__ = ["Kind", "kind_of", "segment"]

Kind = Literal["monai", "nnunet", "totalsegmentator"]

#: Name of the installed program instead of a folder; a task may follow after a colon.
_TOTALSEGMENTATOR = "totalsegmentator"


def kind_of(name: str | Path) -> Kind | None:
    """Return whose model a folder is, by the names of its files; None where it is none of these.

    Parameters
    ----------
    name : str or Path
        A folder: a MONAI bundle, an nnU-Net results folder, or TotalSegmentator's folder of
        weights. Or "totalsegmentator", or "totalsegmentator:TASK".
    """
    folder = Path(name)
    if (folder / "configs").is_dir() and (folder / "models").is_dir():
        return "monai"
    if (folder / "plans.json").is_file() and (folder / "dataset.json").is_file():
        return "nnunet"
    if str(name).split(":")[0] == _TOTALSEGMENTATOR and not folder.exists():
        return "totalsegmentator"
    if folder.is_dir() and next(folder.glob("Dataset*/nnUNetTrainer*/plans.json"), None):
        return "totalsegmentator"
    return None


def segment(name: str, image: "Volume", settings: "PredictSettings") -> "Outcome":
    """Segment an image by a foreign model.

    Parameters
    ----------
    name : str
        As in `kind_of`.
    image : Volume
        In any orientation and spacing.
    settings : PredictSettings
        How. TotalSegmentator takes the device and the rules only.

    Raises
    ------
    ReadError
        A model that is damaged, incomplete or would run code.
    SettingsError
        A model that is not supported, or a package that is not installed.
    """
    kind = kind_of(name)
    if kind == "totalsegmentator":
        from pipeline.model_adapters import totalsegmentator

        return totalsegmentator.segment(name, image, settings)
    from pipeline.model_adapters.adapted import run

    if kind == "nnunet":
        from pipeline.model_adapters import nnunet

        return run(nnunet.adapt(Path(name), image), image.grid, settings)
    if kind == "monai":
        from pipeline.model_adapters import monai_bundle

        return run(monai_bundle.adapt(Path(name), image), image.grid, settings)
    raise SettingsError(f"{name}: no MONAI bundle, nnU-Net results or TotalSegmentator weights")
