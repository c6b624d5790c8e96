"""Does the match hold, and what did the map do: checkerboard, Jacobian, carried grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.geometry import index_to_world
from pipeline.registration.matching import foreground
from pipeline.report import overlays
from pipeline.report.overlays import PLANES, Cut, Pixels, Rgb, cut_plane
from pipeline.report.panels import Panel, Sheet, jacobian_ramp
from pipeline.types import DisplacementField, Mask3D, Volume

#: Shown around a region of interest, and the least and most half side of that window.
WIDE_MM = 30.0
_SMALLEST_MM, _LARGEST_MM = 20.0, 90.0
#: Squares of a checkerboard along the longer side of the picture.
_SQUARES = 8
#: Pixels along that side.
_FINE_PIXELS = 480
#: Colour of the moving image's squares: a reader has to see which square is whose.
_TINT = (1.0, 0.86, 0.62)
GRID_STEP_MM = 6.0
#: Lines of the grid along the longer side of a picture, at most: more hide the image.
_MOST_LINES = 30
#: Change is averaged over so many voxels (SD) before its largest is looked for; a Jacobian below
#: the least counts as that.
_AROUND_VOXELS, _LEAST_JACOBIAN = 2.0, 0.05
_OPACITY_INSIDE, _OPACITY_OUTSIDE, _OPACITY_ALONE = 0.8, 0.3, 0.45


@dataclass(frozen=True, eq=False)
class View:
    """Where a pair is cut and how much of it is shown.

    Attributes
    ----------
    cuts : three Cut
        Axial, coronal and sagittal slices of the fixed grid.
    mask : Volume, optional
        Region of interest on the fixed grid: outlined.
    half_mm : float, optional
        Half the side of the window around the region; None shows whole slices.
    """

    cuts: Sequence[Cut]
    mask: Volume | None = None
    half_mm: float | None = None


@dataclass(frozen=True, eq=False)
class Change:
    """The map of a pair, to be shown.

    Attributes
    ----------
    jacobian : Volume
        Moving over fixed volume, on the fixed grid.
    displacement : DisplacementField
        Fixed to moving point, mm.
    affine : (4, 4) array
        Part of the map that is no deformation: fixed to moving point, LPS mm.
    """

    jacobian: Volume
    displacement: DisplacementField
    affine: npt.NDArray[np.float64]


def view_of(fixed: Volume, mask: Volume | None, jacobian: Volume | None = None) -> View:
    """Return a view through the region of interest.

    Without one it goes through the place of the body that changed most by the Jacobian map, as the
    mean over some voxels; without that through the middle of the body.
    """
    inside = None if mask is None else mask.data > 0
    if inside is None or not inside.any():
        body = foreground(fixed.data)
        voxel = _middle_voxel(body) if jacobian is None else _most_changed(body, jacobian)
        point = index_to_world(fixed.grid, voxel)
        return View([cut_plane(fixed.grid, plane, point) for plane in PLANES])
    centre = overlays.centre_mm(inside, fixed.grid)
    half = half_window_mm(overlays.extent_mm(inside, fixed.grid), WIDE_MM)
    return View([cut_plane(fixed.grid, plane, centre) for plane in PLANES], mask, half)


def half_window_mm(size_mm: float, margin_mm: float) -> float:
    """Return half the side of a window that shows something of a size with a margin around it."""
    return float(np.clip(size_mm / 2 + margin_mm, _SMALLEST_MM, _LARGEST_MM))


def near(cut: Cut, pixels: Pixels, half_mm: float | None) -> Pixels:
    """Return the pixels within a window round the cut's point; all of them without a window."""
    if half_mm is None:
        return pixels
    (x, y), (width, height) = cut.centre_mm, cut.pixel_mm
    rows = slice(max(int((y - half_mm) / height), 0), int((y + half_mm) / height) + 1)
    columns = slice(max(int((x - half_mm) / width), 0), int((x + half_mm) / width) + 1)
    return pixels[rows, columns]


def outlines(cut: Cut, mask: Volume | None) -> list[overlays.Lines]:
    """Return the border of a mask on the grid of the cut, in picture mm."""
    return [] if mask is None else [overlays.outline_mm(cut, cut.of(mask.data) > 0)]


# --- checkerboard ---------------------------------------------------------------------------


def checkerboard_sheet(view: View, fixed: Volume, moving: Volume, warped: Volume) -> Sheet:
    """Return squares of the fixed (grey) and the moving image (tinted) in turn, before and after.

    Edges that run on across the squares match. Each image has its own grey window, so that the
    gain of the scanner is no difference.
    """
    still = [cut.of(fixed.data) for cut in view.cuts]
    after = [cut.of(warped.data) for cut in view.cuts]
    before = [cut.of_other(moving) for cut in view.cuts]
    first, second = _windows_of_both(view, still, after)
    rows = [
        [
            Panel(
                cut,
                _checkered(cut, view, overlays.grey(_fine(cut, one, view), first),
                           overlays.grey(_fine(cut, two, view), second)),
                outlines(cut, view.mask),
            )
            for cut, one, two in zip(view.cuts, still, others, strict=True)
        ]
        for others in (before, after)
    ]  # fmt: skip
    return Sheet(
        rows, [p.capitalize() for p in PLANES], ["As scanned", "Registered"], view.half_mm,
        smooth=True,
    )  # fmt: skip


def _fine(cut: Cut, pixels: Pixels, view: View) -> Pixels:
    """Return a picture of smaller pixels, linear: squares must not end where voxels do."""
    smallest = _longest_mm(view) / _FINE_PIXELS
    rows, columns = (max(1, int(np.ceil(side / smallest))) for side in cut.pixel_mm[::-1])
    return np.asarray(ndimage.zoom(pixels, (rows, columns), order=1, mode="nearest",
                                   grid_mode=True))  # fmt: skip


def _checkered(cut: Cut, view: View, one: Rgb, two: Rgb) -> Rgb:
    """Return squares of two pictures in turn, the second tinted; four meet at the cut's point."""
    square = _longest_mm(view) / _SQUARES
    places = [
        np.floor(((np.arange(n) + 0.5) / n * voxels * side - centre) / square)
        for n, voxels, side, centre in zip(
            one.shape[:2], cut.index.shape[:2], cut.pixel_mm[::-1], cut.centre_mm[::-1], strict=True
        )
    ]
    first = (places[0][:, None] + places[1][None, :]) % 2 == 0
    tinted = np.rint(two * np.asarray(_TINT)).astype(np.uint8)
    return np.where(first[..., None], one, tinted)


# --- Jacobian and carried grid --------------------------------------------------------------


def change_sheet(
    view: View,
    fixed: Volume,
    moving: Volume,
    change: Change,
) -> Sheet:
    """Return the Jacobian over the fixed image, and below it the grid that the map carried."""
    rows = [jacobian_row(view, fixed, change.jacobian), grid_row(view, moving, change)]
    return Sheet(
        rows, [p.capitalize() for p in PLANES], ["Fixed", "Moving"], view.half_mm,
        colour_bar="volume ratio, moving / fixed",
    )  # fmt: skip


def jacobian_row(view: View, fixed: Volume, jacobian: Volume) -> list[Panel]:
    """Return the fixed image with the Jacobian laid over it, strong inside the region."""
    pixels = [cut.of(fixed.data) for cut in view.cuts]
    level = _window(view, pixels)
    panels = []
    for cut, picture in zip(view.cuts, pixels, strict=True):
        opacity = np.full(picture.shape, _OPACITY_ALONE)
        if view.mask is not None:
            opacity = np.where(cut.of(view.mask.data) > 0, _OPACITY_INSIDE, _OPACITY_OUTSIDE)
        coloured = colour_jacobian(overlays.grey(picture, level), cut.of(jacobian.data), opacity)
        panels.append(Panel(cut, coloured, outlines(cut, view.mask)))
    return panels


def grid_row(view: View, moving: Volume, change: Change) -> list[Panel]:
    """Return the moving image with the grid and the outline of the fixed one carried onto it.

    The affine part of the map is no change of shape: it is taken out of all, so that this row
    shows the place of the fixed image.
    """
    pixels = [_aligned(cut, moving, change, view.mask) for cut in view.cuts]
    level = _window(view, pixels)
    panels = []
    for cut, picture in zip(view.cuts, pixels, strict=True):
        moved = overlays.along_picture_mm(cut, _deformation(change, cut.index))
        lines = overlays.grid_lines_mm(cut, step_mm=grid_step_mm(view))
        panels.append(
            Panel(
                cut,
                overlays.grey(picture, level),
                [overlays.carried_mm(part, moved, cut) for part in outlines(cut, view.mask)],
                [overlays.carried_mm(line, moved, cut) for line in lines],
            )
        )
    return panels


def grid_step_mm(view: View) -> float:
    """Return the distance of the carried grid's lines."""
    return max(GRID_STEP_MM, float(np.ceil(_longest_mm(view) / _MOST_LINES)))


def colour_jacobian(under: Rgb, jacobian: Pixels, opacity: Pixels) -> Rgb:
    """Return a grey picture (R, C, 3) with volume ratios (R, C) laid over it in colour."""
    position = overlays.jacobian_position(jacobian)
    folded = ~np.isfinite(position)
    ramp = jacobian_ramp(1025)
    colours = ramp[np.rint(np.where(folded, 0.5, position) * 1024).astype(int)]
    colours[folded] = overlays.FOLD_COLOUR
    return overlays.blend(under, colours, opacity)


def _aligned(cut: Cut, moving: Volume, change: Change, mask: Volume | None) -> Pixels:
    """Return the moving image through the affine part of the map alone.

    The plane follows the mean deformation inside the mask, so that lesion meets lesion.
    """
    shift = np.zeros(3)
    inside = np.argwhere(mask.data > 0) if mask is not None else np.empty((0, 3), dtype=int)
    if inside.size:
        shift = overlays.through_plane_mm(cut, _deformation(change, inside).mean(axis=0))
    return cut.of_other(moving, shift_mm=shift, matrix=change.affine)


def _deformation(change: Change, index: npt.NDArray[np.int64]) -> Pixels:
    """Return A^-1 (x + u(x)) - x in mm (..., 3) at voxels (..., 3) of the fixed grid."""
    field = change.displacement
    points = index_to_world(field.grid, index)
    i, j, k = np.moveaxis(index, -1, 0)
    moved = points + field.data[i, j, k] - change.affine[:3, 3]
    return np.asarray(moved @ np.linalg.inv(change.affine[:3, :3]).T - points)


def _window(view: View, pixels: Sequence[Pixels]) -> tuple[float, float]:
    """Return the grey window that suits what is shown of three slices."""
    return overlays.window(
        [near(cut, part, view.half_mm) for cut, part in zip(view.cuts, pixels, strict=True)]
    )


def _windows_of_both(
    view: View, still: Sequence[Pixels], after: Sequence[Pixels]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return a grey window for each of two images, from the pixels that both of them show.

    An image is at its darkest where it was padded or its field of view ends: were those pixels
    counted, tissue would look brighter in the image that has more of them.
    """
    darkest = [min(float(np.nanmin(p)) for p in pixels) for pixels in (still, after)]
    seen = [(one > darkest[0]) & (two > darkest[1]) for one, two in zip(still, after, strict=True)]
    first, second = (
        _window(view, [np.where(s, p, np.nan) for s, p in zip(seen, pixels, strict=True)])
        for pixels in (still, after)
    )
    return first, second


def _longest_mm(view: View) -> float:
    """Return the longest side of what is shown."""
    sides = [
        side * n for cut in view.cuts
        for side, n in zip(cut.pixel_mm, cut.index.shape[1::-1], strict=True)
    ]  # fmt: skip
    longest = float(max(sides))
    return longest if view.half_mm is None else min(longest, 2 * view.half_mm)


def _most_changed(body: Mask3D, jacobian: Volume) -> npt.NDArray[np.float64]:
    """Return the voxel (3,) of a mask around which |ln J| is largest, folds counted as much."""
    change = np.abs(np.log(np.clip(jacobian.data, _LEAST_JACOBIAN, None)))
    smooth = ndimage.gaussian_filter(change, _AROUND_VOXELS)
    found = np.unravel_index(int(np.argmax(np.where(body, smooth, -1))), body.shape)
    return np.array(found, dtype=np.float64)


def _middle_voxel(body: Mask3D) -> npt.NDArray[np.float64]:
    """Return the centre of mass (3,) of a mask in voxels."""
    middle = []
    for axis, count in enumerate(body.shape):
        along = body.sum(axis=tuple(a for a in range(3) if a != axis))
        middle.append(float((along * np.arange(count)).sum() / along.sum()))
    return np.array(middle)
