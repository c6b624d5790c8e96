"""All measures of one case: a prediction against its reference, structure by structure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.overlap import Overlap, measure_overlap
from pipeline.evaluation.slices import Plane, SliceMeasures, measure_slices, slice_axis
from pipeline.evaluation.structures import Structure, joint_box, label_boxes
from pipeline.evaluation.surface import Surface, measure_surface
from pipeline.grid_difference import check_same_grid
from pipeline.types import Geometry, Mask3D, Volume


@dataclass(frozen=True)
class StructureMeasures:
    """What was measured of one structure in one case.

    Attributes
    ----------
    overlap, surface
        Over the whole volume.
    slices : tuple of SliceMeasures
        Those that are not empty in both.
    note : str
        Why a measure is undefined; empty when all are defined.
    """

    overlap: Overlap
    surface: Surface
    slices: tuple[SliceMeasures, ...]
    note: str


@dataclass(frozen=True)
class CaseMeasures:
    """One case.

    Attributes
    ----------
    structures : mapping
        Structure to its measures.
    reference_labels, prediction_labels : frozenset of int
        Labels above 0 that each image holds.
    """

    structures: Mapping[Structure, StructureMeasures]
    reference_labels: frozenset[int]
    prediction_labels: frozenset[int]


def measure_case(
    reference: Volume,
    prediction: Volume,
    structures: Sequence[Structure] | None = None,
    *,
    tolerance_mm: float = 2.0,
    plane: Plane = "axial",
    names: tuple[str, str] = ("the reference", "the prediction"),
) -> CaseMeasures:
    """Measure a prediction against its reference.

    Parameters
    ----------
    reference, prediction : Volume
        Label images on one grid.
    structures : sequence of Structure, optional
        What to measure. Default: each label that either image holds.
    tolerance_mm : float
        Of the surface Dice.
    plane : {"axial", "coronal", "sagittal"}
        Slices of the measures by slice; the array axis nearest to its normal is used.
    names : (str, str)
        What messages call the two images.

    Raises
    ------
    GeometryError
        The grids differ; the message says by how much.
    ImageError
        A label below 0 or beyond all reason.
    """
    check_same_grid(reference.grid, prediction.grid, names)
    boxes = [
        label_boxes(volume.data, name=name)
        for volume, name in zip((reference, prediction), names, strict=True)
    ]
    if structures is None:
        structures = [Structure(str(n), (n,)) for n in sorted(boxes[0].keys() | boxes[1].keys())]
    axis = slice_axis(reference.grid, plane)
    found = {}
    for structure in structures:
        box = joint_box(structure, *boxes)
        if box is None:
            found[structure] = absent_structure()
            continue
        # Outside the box both masks are background, so nothing is lost by the cut.
        found[structure] = measure_structure(
            structure.of(reference.data[box]),
            structure.of(prediction.data[box]),
            reference.grid,
            tolerance_mm=tolerance_mm,
            axis=axis,
            first=box[axis].start,
        )
    return CaseMeasures(found, frozenset(boxes[0]), frozenset(boxes[1]))


def measure_structure(
    reference: Mask3D,
    prediction: Mask3D,
    grid: Geometry,
    *,
    tolerance_mm: float,
    axis: int = 2,
    first: int = 0,
) -> StructureMeasures:
    """Measure two masks of one shape; `grid` gives the spacing, `first` the first slice's index."""
    overlap = measure_overlap(reference, prediction, grid.voxel_volume_mm3)
    return StructureMeasures(
        overlap,
        measure_surface(reference, prediction, grid.spacing_mm, tolerance_mm=tolerance_mm),
        measure_slices(reference, prediction, grid.spacing_mm, axis=axis, first=first),
        _note(overlap),
    )


def absent_structure() -> StructureMeasures:
    """Return the measures of a structure that neither image holds."""
    nothing = np.zeros((1, 1, 1), dtype=bool)
    overlap = measure_overlap(nothing, nothing, 1.0)
    surface = measure_surface(nothing, nothing, (1.0, 1.0, 1.0), tolerance_mm=0.0)
    return StructureMeasures(overlap, surface, (), _note(overlap))


def _note(overlap: Overlap) -> str:
    r, p = overlap.reference_ml, overlap.prediction_ml
    if not r and not p:
        return "in neither mask: nothing to find, nothing found; no measure is defined"
    if not r:
        return f"not in the reference, {p:.3g} mL predicted: Dice is 0, no distance is defined"
    if not p:
        return f"not predicted, {r:.3g} mL in the reference: Dice is 0, no distance or RVD"
    return ""
