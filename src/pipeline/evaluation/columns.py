"""What each measure means: the one place that names, defines and orders them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """One column of cases.tsv.

    Attributes
    ----------
    column : str
        Name, with the unit.
    title : str
        What readers call it.
    digits : int
        Decimals that a page shows.
    better : {"high", "low", "zero", "none"}
        Which values are good.
    meaning : str
        Definition in a sentence.
    """

    column: str
    title: str
    digits: int
    better: Literal["high", "low", "zero", "none"]
    meaning: str


#: R is the reference, P the prediction; a and b are the distances from each boundary voxel of R
#: to the nearest of P, and back.
MEASURES = (
    Measure("reference_ml", "Reference volume (mL)", 2, "none", "Volume of R."),
    Measure("prediction_ml", "Predicted volume (mL)", 2, "none", "Volume of P."),
    Measure("volume_difference_ml", "Volume difference (mL)", 2, "zero",
            "Volume of P minus volume of R."),
    Measure("dice_3d", "Dice", 3, "high",
            "2 |R and P| / (|R| + |P|) over the volume; 0 when one of the two is empty, undefined"
            " when both are."),
    Measure("jaccard", "Jaccard", 3, "high", "|R and P| / |R or P|."),
    Measure("rvd_percent", "RVD (%)", 1, "zero",
            "100 (|R| / |P| - 1), the sign of PSNet (Tian et al. 2018): positive when P is too"
            " small. Undefined for an empty P."),
    Measure("sensitivity", "Sensitivity", 3, "high", "|R and P| / |R|."),
    Measure("precision", "Precision", 3, "high", "|R and P| / |P|."),
    Measure("hausdorff_mm", "Hausdorff (mm)", 2, "low",
            "Largest of a and b: the full maximum (PSNet's HD)."),
    Measure("hd95_max_mm", "HD95, maximum (mm)", 2, "low",
            "Larger of the 95th percentiles of a and of b: what most challenges print."),
    Measure("hd95_mean_mm", "HD95, mean (mm)", 2, "low",
            "Mean of the two 95th percentiles (DenseHighRes3DNet's HD95)."),
    Measure("asd_mm", "ASD (mm)", 2, "low", "Mean of a and b pooled (PSNet's ASD)."),
    Measure("msd_mm", "MSD (mm)", 2, "low",
            "Mean of mean(a) and mean(b) (DenseHighRes3DNet's MSD)."),
    Measure("surface_dice", "Surface Dice", 3, "high",
            "Share of the boundary voxels of R and P that lie within tolerance_mm of the other"
            " boundary. Voxels are counted, not areas."),
    Measure("dice_2d_mean", "Dice per slice, mean", 3, "high",
            "Mean Dice over the slices that hold a voxel of R (found or missed)."),
    Measure("dice_2d_q1", "Dice per slice, lower quartile", 3, "high",
            "First quartile over those slices."),
    Measure("dice_2d_median", "Dice per slice, median", 3, "high", "Median over those slices."),
    Measure("dice_2d_q3", "Dice per slice, upper quartile", 3, "high",
            "Third quartile over those slices."),
    Measure("tp_slices", "Slices in both", 0, "none",
            "Slices with voxels of R and of P, whether or not they meet."),
    Measure("fn_slices", "Slices missed", 0, "low", "Slices with voxels of R alone."),
    Measure("fp_slices", "Slices too many", 0, "low", "Slices with voxels of P alone."),
    Measure("tp_dice_2d", "Dice in slices of both", 3, "high",
            "Mean Dice over the slices in both (DenseHighRes3DNet, table 3)."),
    Measure("tp_msd_2d_mm", "MSD in slices of both (mm)", 2, "low",
            "Mean over the slices in both of MSD, with boundary and distances within the slice."),
    Measure("tp_hd95_2d_mm", "HD95 in slices of both (mm)", 2, "low",
            "Mean over the slices in both of HD95, mean, within the slice."),
)  # fmt: skip

#: Measures of summary.tsv whose unit is the slice, all cases pooled: column of slices.tsv, which
#: slices count, title, decimals, definition.
SLICE_MEASURES = (
    ("dice_2d", ("tp", "fn"), Measure("dice_2d", "Dice per slice", 3, "high",
     "Over all slices of all cases that hold a voxel of R.")),
    ("dice_2d", ("tp",), Measure("tp_dice_2d", "Dice in slices of both", 3, "high",
     "Over all slices of all cases with voxels of R and of P.")),
    ("msd_2d_mm", ("tp",), Measure("tp_msd_2d_mm", "MSD in slices of both (mm)", 2, "low",
     "Over the same slices.")),
    ("hd95_2d_mm", ("tp",), Measure("tp_hd95_2d_mm", "HD95 in slices of both (mm)", 2, "low",
     "Over the same slices.")),
)  # fmt: skip

#: What a boundary and a distance are, for whoever reads the tables.
DEFINITIONS = (
    "R is the reference, P the prediction.",
    "A boundary voxel of a mask has a face on the background; what lies outside the image is"
    " background.",
    "a: the distances in mm from the centre of each boundary voxel of R to the nearest of P;"
    " b: those from P to R.",
    "No distance is defined when a mask is empty; such a case is left out of the means of the"
    " distances, counted under `undefined`, and its `note` says why.",
)


def measure_of(column: str) -> Measure:
    """Return the measure of a column of cases.tsv."""
    return next(measure for measure in MEASURES if measure.column == column)
