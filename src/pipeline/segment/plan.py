"""What a segmentation network expects: its grid, patch, intensities and classes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pipeline.errors import SettingsError

Shape = tuple[int, int, int]

_FORMAT = 1


@dataclass(frozen=True)
class Intensity:
    """How intensities become about zero mean and unit variance.

    Attributes
    ----------
    kind : {"image", "dataset"}
        "image": clip at two percentiles of the image itself, then its own mean and SD (MR, whose
        scale means nothing). "dataset": clip at two values, then one mean and SD for all (CT).
    low, high : float
        Percentiles (0 to 100) for "image"; values for "dataset".
    mean, sd : float
        For "dataset" only.
    """

    kind: Literal["image", "dataset"]
    low: float
    high: float
    mean: float = 0.0
    sd: float = 1.0


@dataclass(frozen=True)
class Plan:
    """Everything that has to be the same in training and in use.

    Attributes
    ----------
    network : str
        Key of `pipeline.segment.networks.NETWORKS`.
    labels : mapping of str to int
        Name -> value in masks. Class 0 is the background, class c the c-th of them.
    spacing_mm : three floats
        The grid that the network sees, along axes nearest to L, P, S.
    patch : three ints
        Voxels of a patch along these axes. A network of slices has patch[2] = 1.
    intensity : Intensity
    batch : int
        Patches per step of training.
    dimensions : {2, 3}
        2: the network takes slices along the third axis.
    options : mapping
        What the network is built with besides channels and classes; JSON values.
    """

    network: str
    labels: Mapping[str, int]
    spacing_mm: tuple[float, float, float]
    patch: Shape
    intensity: Intensity
    batch: int = 2
    dimensions: Literal[2, 3] = 3
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.labels or min(self.labels.values()) < 1:
            raise SettingsError("labels: name at least one, with a value of 1 or more")
        if len(set(self.labels.values())) < len(self.labels):
            raise SettingsError(f"labels {dict(self.labels)}: two names share a value")

    @property
    def classes(self) -> int:
        """Number of classes, background included."""
        return len(self.labels) + 1

    @property
    def values(self) -> tuple[int, ...]:
        """Value in masks of each class, 0 first."""
        return (0, *self.labels.values())

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values; labels as pairs, for JSON files may sort their keys."""
        return {"format": _FORMAT, **asdict(self), "labels": list(self.labels.items())}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Plan":
        """Return the plan of a document made by `to_json`.

        Raises
        ------
        SettingsError
            When the document is of another format or lacks something.
        """
        found = dict(document)
        if found.pop("format", None) != _FORMAT:
            raise SettingsError(f"plan of format {document.get('format')}: this reads {_FORMAT}")
        try:
            a, b, c = (float(v) for v in found.pop("spacing_mm"))
            i, j, k = (int(v) for v in found.pop("patch"))
            intensity = Intensity(**found.pop("intensity"))
            labels = {str(name): int(value) for name, value in found.pop("labels")}
            return cls(
                **found, labels=labels, spacing_mm=(a, b, c), patch=(i, j, k), intensity=intensity
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SettingsError(f"plan: {error}") from None
