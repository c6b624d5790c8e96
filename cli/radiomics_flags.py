"""The flags that the radiomics verbs share: what is measured of a region, and on which grid."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Kind = Annotated[
    Literal["subtraction", "jacobian", "mr", "ct"],
    typer.Option(help="Preset: bin width 25, or 0.1 within 0.05 to 5 for a Jacobian."),
]
BinWidth = Annotated[
    float | None, typer.Option(help="Width of a grey level, instead of the preset's.")
]
BinCount = Annotated[int | None, typer.Option(help="Number of grey levels, instead of a width.")]
IntensityShift = Annotated[
    float, typer.Option(help="Added before squaring, as PyRadiomics' voxelArrayShift.")
]
Classes = Annotated[
    str, typer.Option(help="Feature classes; add ngtdm for PyRadiomics' 107 features.")
]
SpacingMm = Annotated[
    float, typer.Option(min=0, help="Resample to this grid first; 0 keeps the voxels.")
]
Interpolation = Annotated[
    str, typer.Option(help="Of the image onto that grid: linear, bspline3, ...")
]
ImageTypes = Annotated[
    str,
    typer.Option(
        help="Image types: original,wavelet,log,square,squareroot,logarithm,exponential,"
        "gradient,lbp2d,lbp3d."
    ),
]
LogSigma = Annotated[
    str, typer.Option(help="Widths in mm of the Laplacian of Gaussian, for log: 1,2,3.")
]
Params = Annotated[
    Path | None,
    typer.Option(help="PyRadiomics' parameter file, instead of --kind, --bin-width, ..."),
]
Long = Annotated[
    bool, typer.Option("--long", help="Also a table with a row per value: OUT_long.tsv.")
]
MinVoxels = Annotated[int, typer.Option(min=1, help="Fewer voxels are too small.")]
MinDimensions = Annotated[
    int, typer.Option(min=1, max=3, help="2 allows a region within one slice.")
]
Canonical = Annotated[
    bool,
    typer.Option(
        "--canonical",
        help="Bring voxels to LPS order first: same numbers however the file is stored.",
    ),
]
