"""What an adapter makes of a foreign model and an image, and how `predict` runs it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.geometry import index_to_world
from pipeline.segment.plan import Intensity
from pipeline.segment.predict import Prediction, PredictSettings, predict
from pipeline.segment.trained import Model
from pipeline.types import Geometry, Volume

#: The adapter has normalised the image already.
AS_IT_COMES = Intensity("dataset", -math.inf, math.inf)

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Adapted:
    """A foreign model, ready for one image.

    Attributes
    ----------
    models : tuple of Model
        One, or the members of an ensemble. Their networks take the canonical axes.
    image : Volume
        The part of the image that the networks see, its intensities normalised.
    box : three slices
        Where this part lies in the whole image.
    weights : mapping of str to str
        sha256 of each file of weights, by its path below the model's folder.
    documents : paths
        The other files that say how it runs.
    warnings : texts
        What the foreign program would do and `predict` does not.
    """

    models: tuple[Model, ...]
    image: Volume
    box: Box
    weights: Mapping[str, str]
    documents: tuple[Path, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a foreign model finds.

    Attributes
    ----------
    prediction : Prediction
        On the image's own grid.
    labels : mapping of str to int
        Name -> value.
    weights, documents
        As in `Adapted`.
    """

    prediction: Prediction
    labels: Mapping[str, int]
    weights: Mapping[str, str]
    documents: tuple[Path, ...] = ()


def run(adapted: Adapted, grid: Geometry, settings: PredictSettings) -> Outcome:
    """Run `predict` on the part that the networks see; outside of it is background."""
    found = predict(adapted.image, adapted.models, settings)
    prediction = replace(
        found,
        labels=_put_back(found.labels, adapted.box, grid),
        entropy=None if found.entropy is None else _put_back(found.entropy, adapted.box, grid),
        spread=None if found.spread is None else _put_back(found.spread, adapted.box, grid),
        warnings=(*adapted.warnings, *found.warnings),
    )
    return Outcome(prediction, adapted.models[0].plan.labels, adapted.weights, adapted.documents)


def cut(image: Volume, box: Box) -> Volume:
    """Return the part of an image in a box, where it lies in the patient."""
    data = image.data[box]
    i, j, k = (side.start for side in box)
    x, y, z = (float(value) for value in index_to_world(image.grid, [i, j, k]))
    a, b, c = data.shape
    grid = replace(image.grid, shape=(a, b, c), origin_mm=(x, y, z))
    return Volume(data, grid)


def whole_box(grid: Geometry) -> Box:
    """Return the box of a whole image."""
    i, j, k = grid.shape
    return slice(0, i), slice(0, j), slice(0, k)


def _put_back(part: Volume, box: Box, grid: Geometry) -> Volume:
    if part.grid.shape == grid.shape:
        return Volume(part.data, grid)
    data = np.zeros(grid.shape, dtype=part.data.dtype)
    data[box] = part.data
    return Volume(data, grid)
