"""The pictures of one subject: both visits, close up, registration, Jacobian map."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.geometry import index_to_world, same_grid, world_to_index
from pipeline.report import overlays
from pipeline.report import registration_figures as figures
from pipeline.report.canvas import BLACK, BLUE, VERMILION
from pipeline.report.figures import Line, curve_figure, histogram_figure
from pipeline.report.overlays import PLANES, Cut, cut_plane
from pipeline.report.page import Picture, Section
from pipeline.report.panels import Panel, Sheet, sheet_png
from pipeline.report.results import Numbers, SubjectResults, VisitResults
from pipeline.report.text import is_number, number
from pipeline.types import DisplacementField, Volume

_Window = tuple[float, float]

_CLOSE_MM = 12.0


# --- places ---------------------------------------------------------------------------------


def _centres(results: SubjectResults) -> tuple[npt.NDArray[np.float64], ...]:
    """Return the LPS point that each visit is cut through.

    An empty follow-up mask is cut where the baseline tumour went to.
    """
    first = _centre_of(results.baseline)
    mask = results.followup.mask
    if mask is not None and bool((mask.data > 0).any()):
        return first, overlays.centre_mm(mask.data > 0, mask.grid)
    return first, _carried(first, results.registration.displacement)


def _centre_of(visit: VisitResults) -> npt.NDArray[np.float64]:
    if visit.mask is not None:
        return overlays.centre_mm(visit.mask.data > 0, visit.mask.grid)
    if visit.series is not None:
        return index_to_world(visit.series.grid, (np.array(visit.series.grid.shape) - 1) / 2)
    return np.zeros(3)


def _carried(
    point: npt.NDArray[np.float64], displacement: DisplacementField | None
) -> npt.NDArray[np.float64]:
    if displacement is None:
        return point
    limit = np.array(displacement.grid.shape) - 1
    i, j, k = np.clip(np.rint(world_to_index(displacement.grid, point)), 0, limit).astype(int)
    return np.asarray(point + displacement.data[i, j, k])


def _half_mm(results: SubjectResults, margin: float) -> float:
    """Return half the side of a window that holds the tumour of both visits."""
    masks = [v.mask for v in (results.baseline, results.followup) if v.mask is not None]
    size = max((overlays.extent_mm(m.data > 0, m.grid) for m in masks), default=0.0)
    return figures.half_window_mm(size, margin)


# --- sections -------------------------------------------------------------------------------


def visits_section(results: SubjectResults) -> Section:
    """Return three planes of both visits, whole slices."""
    rows = [
        _visit_row(visit, centre, _post_contrast(visit))
        for visit, centre in zip(
            (results.baseline, results.followup), _centres(results), strict=True
        )
    ]
    return Section(
        "Both visits",
        "Three planes of each visit through the tumour, with the outline of its mask.",
        [
            Picture(
                sheet_png(_sheet(rows, results)),
                "image/png",
                f"Axial, coronal and sagittal slices of the {results.baseline.name} and the"
                f" {results.followup.name} scan with the tumour outlined",
                _visit_caption(results),
            )
        ],
    )


def _sheet(rows: list[list[Panel]], results: SubjectResults) -> Sheet:
    names = [v.name.capitalize() for v in (results.baseline, results.followup)]
    return Sheet(rows, [p.capitalize() for p in PLANES], names, smooth=True)


def _visit_caption(results: SubjectResults) -> str:
    parts = []
    for visit in (results.baseline, results.followup):
        if visit.series is not None and len(visit.series.time_s) > 1:
            time = visit.series.time_s[visit.post_contrast()]
            parts.append(f"{visit.name} {time:g} s after injection")
    times = f"{'; '.join(parts).capitalize()}. " if parts else ""
    return (
        f"{times}Yellow: border of the mask, along voxel edges. Each visit has its own grey window."
    )


def _post_contrast(visit: VisitResults) -> Volume | None:
    return None if visit.series is None else visit.series.image(visit.post_contrast())


def _visit_row(
    visit: VisitResults,
    centre: npt.NDArray[np.float64],
    volume: Volume | None,
    *,
    half_mm: float | None = None,
    window: _Window | None = None,
) -> list[Panel]:
    """Return three planes of a volume with the outline of the visit's mask."""
    if volume is None:
        empty = overlays.EMPTY_CUT
        return [Panel(empty, None, message=f"no image\n({visit.name})")] * 3
    cuts = [cut_plane(volume.grid, plane, centre) for plane in PLANES]
    pixels = [cut.of(volume.data) for cut in cuts]
    near = pixels if half_mm is None else [
        figures.near(c, p, half_mm) for c, p in zip(cuts, pixels, strict=True)
    ]  # fmt: skip
    level = window or overlays.window(near)
    return [
        Panel(cut, overlays.grey(picture, level), _outlines(cut, visit.mask))
        for cut, picture in zip(cuts, pixels, strict=True)
    ]


def _outlines(cut: Cut, mask: Volume | None) -> list[overlays.Lines]:
    if mask is None or not same_grid(mask.grid, cut.grid):
        return []
    return figures.outlines(cut, mask)


def close_up_section(results: SubjectResults) -> Section:
    """Return post-contrast and subtraction image round the tumour, voxel by voxel."""
    half = _half_mm(results, _CLOSE_MM)
    visits, centres = (results.baseline, results.followup), _centres(results)
    subtracted = any(visit.subtraction is not None for visit in visits)
    shared = _shared_window(visits, centres, half)
    rows = []
    for visit, centre in zip(visits, centres, strict=True):
        row = _visit_row(visit, centre, _post_contrast(visit), half_mm=half)
        if subtracted:
            row += _visit_row(visit, centre, visit.subtraction, half_mm=half, window=shared)
        rows.append(row)
    kinds = ("scan", "subtraction") if subtracted else ("scan",)
    titles = [f"{plane.capitalize()}, {kind}" for kind in kinds for plane in PLANES]
    sheet = Sheet(rows, titles, [v.name.capitalize() for v in visits], half_mm=half)
    lead = "The scans voxel by voxel."
    if subtracted:
        lead = (
            "Left: post-contrast scan. Right: subtraction, the image that the features are computed"
            " on; both visits share its grey window, so less enhancement looks darker."
        )
    return Section(
        "The tumour close up",
        lead,
        [
            Picture(
                sheet_png(sheet),
                "image/png",
                "Tumour close up at both visits, three planes",
                _subtraction_caption(visits) if subtracted else "",
            )
        ],
    )


def _subtraction_caption(visits: Sequence[VisitResults]) -> str:
    times = [
        f"{v.name} {v.phase['time_s']:g} s" for v in visits if is_number(v.phase.get("time_s"))
    ]
    chosen = f" (phase of the subtraction: {', '.join(times)})" if times else ""
    return f"Subtraction: post-contrast image minus S0{chosen}."


def _shared_window(
    visits: Sequence[VisitResults], centres: Sequence[npt.NDArray[np.float64]], half_mm: float
) -> tuple[float, float]:
    pixels = []
    for visit, centre in zip(visits, centres, strict=True):
        if visit.subtraction is not None:
            for plane in PLANES:
                cut = cut_plane(visit.subtraction.grid, plane, centre)
                pixels.append(figures.near(cut, cut.of(visit.subtraction.data), half_mm))
    return overlays.window(pixels, (2.0, 99.7))


def registration_section(results: SubjectResults) -> Section:
    """Return baseline, follow-up before and after warping, and the differences."""
    title = "Registration"
    warped, series = results.registration.warped, results.baseline.series
    moving = _post_contrast(results.followup)
    if warped is None or series is None or moving is None:
        return Section(title, "Not shown: the warped follow-up or an image is missing.")
    fixed = series.image(results.baseline.post_contrast())
    if not same_grid(warped.grid, fixed.grid):
        return Section(title, "Not shown: the warped follow-up is not on the baseline grid.")
    half, centre = _half_mm(results, figures.WIDE_MM), _centre_of(results.baseline)
    rows = [
        _registration_row(cut_plane(fixed.grid, p, centre), fixed, moving, warped, results, half)
        for p in PLANES
    ]
    titles = ["Baseline", "Follow-up, as scanned", "Follow-up, warped",
              "Difference before", "Difference after"]  # fmt: skip
    sheet = Sheet(rows, titles, [p.capitalize() for p in PLANES], half_mm=half)
    checkered = figures.checkerboard_sheet(
        _view(results, fixed, figures.WIDE_MM), fixed, moving, warped
    )
    pictures = [
        Picture(
            sheet_png(sheet),
            "image/png",
            "Baseline, follow-up before and after warping, and their absolute differences",
            "Yellow: baseline mask. Each visit has its own grey window; differences are"
            " absolute, of the grey levels.",
        ),
        Picture(
            sheet_png(checkered),
            "image/png",
            "Checkerboard of the baseline and the follow-up, before and after registration",
            "Grey squares: baseline. Tinted squares: follow-up, as scanned (above) and warped"
            " (below). Edges that run on from square to square match.",
        ),
    ]
    return Section(
        title,
        "The follow-up is brought onto the baseline. A good match makes the last column darker"
        " than the one before; the tumour itself keeps its change of contrast.",
        pictures + _convergence(results),
    )


def _convergence(results: SubjectResults) -> list[Picture]:
    content = results.registration.convergence
    if not content:
        return []
    return [
        Picture(
            content,
            "image/png",
            "How the energy of the registration fell on each level",
            "A level has converged where its curve runs flat.",
        )
    ]


def _registration_row(
    cut: Cut, fixed: Volume, moving: Volume, warped: Volume, results: SubjectResults, half: float
) -> list[Panel]:
    """Return one plane; each visit in its own window, so that scanner gain is no difference."""
    base, before, after = cut.of(fixed.data), cut.of_other(moving), cut.of(warped.data)
    windows = [overlays.window([figures.near(cut, p, half)]) for p in (base, after)]
    pictures = [overlays.grey(base, windows[0])]
    pictures += [overlays.grey(p, windows[1]) for p in (before, after)]
    first, *others = (picture[..., 0].astype(np.float64) for picture in pictures)
    pictures += [overlays.grey(np.abs(p - first), (0.0, 0.6 * 255)) for p in others]
    lines = _outlines(cut, results.baseline.mask)
    return [Panel(cut, picture, lines) for picture in pictures]


def jacobian_section(results: SubjectResults, numbers: Numbers) -> Section:
    """Return the Jacobian map, the carried grid, the histogram and the enhancement."""
    title = "How the tumour changed"
    jacobian, series = results.registration.jacobian, results.baseline.series
    if jacobian is None or series is None or not same_grid(jacobian.grid, series.grid):
        return Section(title, "Not shown: the Jacobian map is missing or not on the baseline grid.")
    fixed = series.image(results.baseline.post_contrast())
    view = _view(results, fixed, _CLOSE_MM)
    rows = [figures.jacobian_row(view, fixed, jacobian)]
    names, below = ["Jacobian"], ""
    change, moving = _change(results, fixed), _post_contrast(results.followup)
    if change is not None and moving is not None:
        rows.append(figures.grid_row(view, moving, change))
        names.append(results.followup.name.capitalize())
        below = (
            f" Below: the {results.followup.name} scan with a grid of"
            f" {figures.grid_step_mm(view):g} mm and the outline of the baseline, both carried"
            " along by the registration; the outline should hug the tumour."
        )
    sheet = Sheet(
        rows, [p.capitalize() for p in PLANES], names, half_mm=view.half_mm,
        colour_bar=f"volume ratio, {results.followup.name} / {results.baseline.name}",
    )  # fmt: skip
    pictures = [
        Picture(
            sheet_png(sheet),
            "image/png",
            f"Jacobian map over the baseline image; mean in the mask {number(numbers.mean)}",
            "Colours: volume at follow-up over volume at baseline, log scale, white is unchanged;"
            f" strong inside the mask, faint outside.{below}",
        )
    ]
    pictures += _histogram(numbers) + _enhancement(results)
    return Section(
        title,
        "Blue shrank, red grew, white kept its volume. The map compares each point of the"
        " baseline with where it went.",
        pictures,
    )


def _view(results: SubjectResults, fixed: Volume, margin_mm: float) -> figures.View:
    """Return where the baseline is cut: three planes through its tumour."""
    mask = results.baseline.mask
    if mask is not None and not same_grid(mask.grid, fixed.grid):
        mask = None
    centre = _centre_of(results.baseline)
    cuts = [cut_plane(fixed.grid, plane, centre) for plane in PLANES]
    return figures.View(cuts, mask, _half_mm(results, margin_mm))


def _change(results: SubjectResults, fixed: Volume) -> figures.Change | None:
    """Return the map, where all of it is there and on the baseline grid."""
    found = results.registration
    if found.jacobian is None or found.displacement is None:
        return None
    if not same_grid(found.displacement.grid, fixed.grid):
        return None
    affine = np.eye(4) if found.affine is None else found.affine
    return figures.Change(found.jacobian, found.displacement, affine)


def _histogram(numbers: Numbers) -> list[Picture]:
    if numbers.ratios.size == 0:
        return []
    lines = [(1.0, BLACK, "unchanged"), (numbers.mean, VERMILION, f"mean {numbers.mean:.3f}")]
    if numbers.volume_ratio > 0:
        lines.append((numbers.volume_ratio, BLUE, f"masks {numbers.volume_ratio:.3f}"))
    content = histogram_figure(
        numbers.ratios,
        axis="Jacobian in the baseline mask (volume ratio, log scale)",
        counted="Voxels",
        lines=lines,
        edges=2.0 ** np.linspace(-4, 2, 49),
        log2=True,
        title="Volume ratios in the tumour",
        height_px=330,
    )
    low, high = (float(v) for v in np.percentile(numbers.ratios, (5, 95)))
    caption = f"90 % of the voxels lie between {low:.3f} and {high:.3f}."
    return [Picture(content, "image/svg+xml", "Histogram of the Jacobian in the baseline mask",
                    caption, 568)]  # fmt: skip


def _enhancement(results: SubjectResults) -> list[Picture]:
    lines = []
    for visit, colour in ((results.baseline, BLUE), (results.followup, VERMILION)):
        if visit.series is None or visit.mask is None or len(visit.series.time_s) < 2:
            continue
        inside = visit.mask.data > 0
        if inside.any() and same_grid(visit.mask.grid, visit.series.grid):
            means = np.asarray(visit.series.data[inside], dtype=np.float64).mean(axis=0)
            lines.append(Line(visit.name, np.asarray(visit.series.time_s), means, colour))
    if not lines:
        return []
    content = curve_figure(
        lines, x_axis="Time after injection (s)", y_axis="Mean signal in the mask (a.u.)",
        title="Enhancement of the tumour", height_px=330,
    )  # fmt: skip
    return [Picture(content, "image/svg+xml", "Mean signal in the tumour over time, both visits",
                    "Mean over the mask of each visit.", 568)]  # fmt: skip
