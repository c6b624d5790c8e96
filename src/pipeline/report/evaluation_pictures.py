"""Where a prediction departs from its reference, drawn over the scan."""

import numpy as np

from pipeline.evaluation.disagreement import largest_disagreement
from pipeline.geometry import index_to_world, same_grid
from pipeline.report import overlays
from pipeline.report.overlays import PLANES, Cut, Pixels, Rgb, cut_plane
from pipeline.report.panels import Panel, Sheet
from pipeline.report.registration_figures import half_window_mm, near
from pipeline.types import Mask3D, Volume

#: Shown around both masks.
_MARGIN_MM = 15.0
#: Colours of what one mask has and the other has not, as their outlines; how strongly laid over.
_REFERENCE_ONLY, _PREDICTION_ONLY, _OPACITY = (1.0, 0.83, 0.0), (0.48, 0.84, 1.0), 0.28
#: Grey of voxels in neither mask and in both, where there is no scan.
_NEITHER, _BOTH = 0.06, 0.35


def disagreement_sheet(reference: Volume, prediction: Volume, image: Volume | None) -> Sheet:
    """Return three slices through the largest disagreement with both outlines.

    Parameters
    ----------
    reference, prediction : Volume
        Masks (bool) on one grid. The reference is outlined in yellow, the prediction in blue.
    image : Volume, optional
        The scan, on any grid; without it (or where it does not reach) the masks lie on black.
    """
    grid = reference.grid
    voxel = largest_disagreement(reference.data, prediction.data, grid)
    point = index_to_world(grid, voxel)
    cuts = [cut_plane(grid, plane, point) for plane in PLANES]
    extent = overlays.extent_mm(reference.data | prediction.data, grid)
    half = half_window_mm(extent, _MARGIN_MM)
    pictures = _scan(cuts, image, half) or [
        _blank(c, reference.data, prediction.data) for c in cuts
    ]
    panels = [
        _panel(cut, picture, reference.data, prediction.data)
        for cut, picture in zip(cuts, pictures, strict=True)
    ]
    return Sheet([panels], [plane.capitalize() for plane in PLANES], [""], half)


def _scan(cuts: list[Cut], image: Volume | None, half_mm: float) -> list[Rgb]:
    """Return the slices of the scan in one grey window; none where it does not reach them."""
    if image is None:
        return []
    pixels = [
        cut.of(image.data) if same_grid(cut.grid, image.grid) else cut.of_other(image)
        for cut in cuts
    ]
    shown = [near(cut, part, half_mm) for cut, part in zip(cuts, pixels, strict=True)]
    if not any(np.isfinite(part).any() for part in shown):
        return []
    level = overlays.window(shown)
    return [overlays.grey(part, level) for part in pixels]


def _blank(cut: Cut, reference: Mask3D, prediction: Mask3D) -> Rgb:
    both: Pixels = np.where(cut.of(reference & prediction) > 0, _BOTH, _NEITHER)
    return overlays.grey(both, (0.0, 1.0))


def _panel(cut: Cut, picture: Rgb, reference: Mask3D, prediction: Mask3D) -> Panel:
    first, second = (cut.of(mask) > 0 for mask in (reference, prediction))
    for alone, colour in (
        (first & ~second, _REFERENCE_ONLY),
        (second & ~first, _PREDICTION_ONLY),
    ):
        picture = overlays.blend(picture, np.asarray(colour), np.where(alone, _OPACITY, 0.0))
    # The prediction is drawn as the finer line: where both run together both are seen.
    return Panel(
        cut,
        picture,
        outlines=[overlays.outline_mm(cut, first)],
        lines=list(overlays.outline_mm(cut, second)),
    )
