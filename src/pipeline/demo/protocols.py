"""The two scanners of the study and the grids on which the demo is acquired."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.types import Geometry

Centre = Literal["siemens_3t", "aurora_1p5t"]

#: Field of view of one breast in mm along x, y, z.
FIELD_OF_VIEW_MM = (112.0, 96.0, 88.0)


@dataclass(frozen=True)
class Protocol:
    """How one scanner acquires a series.

    Attributes
    ----------
    centre : str
        Name of the scanner in subjects.tsv.
    field_t : float
        Field strength.
    tr_ms, te_ms, flip_deg : float
        Of the fat-suppressed T1 spoiled gradient echo.
    time_s : tuple
        0 for S0, then seconds after injection.
    table_spacing_mm, demo_spacing_mm : (3,) floats
        Voxels of the study, and the coarser ones of the demo.
    stored_signs : (3,) ints
        Sign of the LPS axis that each array axis runs along.
    noise : float
        SD of the noise in each channel over the S0 signal of gland.
    coil : (9,) floats
        Mean coil coefficients, see `kinetics.coil_profile`.
    """

    centre: Centre
    field_t: float
    tr_ms: float
    te_ms: float
    flip_deg: float
    time_s: tuple[float, ...]
    table_spacing_mm: tuple[float, float, float]
    demo_spacing_mm: tuple[float, float, float]
    stored_signs: tuple[int, int, int]
    noise: float
    coil: tuple[float, ...]


#: Settings after Fan et al. 2021, Front Mol Biosci 8:622219. The study prints 5 or 8 phases after
#: contrast at 3 T, the first at 90 s and then every 43 to 44 s: 5, every 43.5 s, are made here.
#: Demo voxels: twice the study's in plane; slices as in the study at 3 T, 1.5 times at 1.5 T.
PROTOCOLS: dict[Centre, Protocol] = {
    "siemens_3t": Protocol(
        centre="siemens_3t",
        field_t=3.0,
        tr_ms=4.5,
        te_ms=1.56,
        flip_deg=10.0,
        time_s=(0.0, 90.0, 133.5, 177.0, 220.5, 264.0),
        table_spacing_mm=(0.9375, 0.9375, 2.2),
        demo_spacing_mm=(1.875, 1.875, 2.2),
        stored_signs=(1, 1, 1),
        noise=0.045,
        coil=(0.0, -0.10, 0.0, -0.10, -0.05, -0.06, 0.0, 0.0, 0.0),
    ),
    "aurora_1p5t": Protocol(
        centre="aurora_1p5t",
        field_t=1.5,
        tr_ms=29.0,
        te_ms=4.8,
        flip_deg=90.0,
        time_s=(0.0, 120.0, 245.0, 371.0),
        table_spacing_mm=(0.7031, 0.7031, 1.48),
        demo_spacing_mm=(1.4062, 1.4062, 2.22),
        stored_signs=(-1, -1, 1),
        noise=0.06,
        coil=(0.0, -0.20, 0.03, -0.06, -0.08, -0.10, 0.0, 0.03, 0.0),
    ),
}


def acquisition_grid(
    protocol: Protocol,
    centre_mm: tuple[float, float, float],
    *,
    full_resolution: bool = False,
) -> Geometry:
    """Return the grid of a series whose field of view has its middle at an LPS point."""
    spacing = protocol.table_spacing_mm if full_resolution else protocol.demo_spacing_mm
    i, j, k = (round(extent / step) for extent, step in zip(FIELD_OF_VIEW_MM, spacing, strict=True))
    signs = np.asarray(protocol.stored_signs, dtype=np.float64)
    half = 0.5 * (np.array([i, j, k]) - 1) * np.asarray(spacing)
    x, y, z = (np.asarray(centre_mm) - signs * half).tolist()
    return Geometry((i, j, k), spacing, (x, y, z), np.diag(signs))
