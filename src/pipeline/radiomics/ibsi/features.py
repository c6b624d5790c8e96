"""The rows of the register: stem of the tag, code, name, unit, definition."""

Rows = tuple[tuple[str, str, str, str, str], ...]

_BODIES = (
    ("aabb", "box along the axes of the grid", "PBX1", "R59B"),
    ("ombb", "smallest box", "ZH1A", "IQYR"),
    ("aee", "ellipsoid of the same spread", "6BDE", "RDD2"),
    ("mvee", "smallest ellipsoid", "SWZ1", "BRI8"),
    ("conv_hull", "convex hull", "R3ER", "7T7F"),
)

MORPHOLOGY: Rows = (
    ("volume", "RNU0", "volume (mesh)", "mm3", "volume that the surface mesh encloses"),
    ("vol_approx", "YEKZ", "volume (voxel counting)", "mm3", "voxels times the volume of one"),
    ("area_mesh", "C0JK", "surface area (mesh)", "mm2", "area of the surface mesh"),
    ("av", "2PR5", "surface to volume ratio", "1/mm", "mesh area over mesh volume"),
    ("comp_1", "SKGS", "compactness 1", "1", "V / (sqrt(pi) A^1.5); 0.053 is a ball"),
    ("comp_2", "BQWJ", "compactness 2", "1", "36 pi V^2 / A^3; 1 is a ball"),
    ("sph_dispr", "KRCK", "spherical disproportion", "1",
     "area over that of a ball of equal volume"),
    ("sphericity", "QCFX", "sphericity", "1", "area of a ball of equal volume over the area"),
    ("asphericity", "25C7", "asphericity", "1", "spherical disproportion - 1; 0 is a ball"),
    ("com", "KLMA", "centre of mass shift", "mm",
     "from the centre of the voxels to that of intensity"),
    ("diam", "L0JK", "maximum 3D diameter", "mm", "largest distance of two points of the mesh"),
    ("pca_maj_axis", "TDIC", "major axis length", "mm",
     "4 sqrt of the largest variance of voxel centres"),
    ("pca_min_axis", "P9VJ", "minor axis length", "mm", "the same of the second variance"),
    ("pca_least_axis", "7J51", "least axis length", "mm", "the same of the least variance"),
    ("pca_elongation", "Q3CK", "elongation", "1", "minor over major axis length"),
    ("pca_flatness", "N17B", "flatness", "1", "least over major axis length"),
    *(
        row
        for stem, words, volume, area in _BODIES
        for row in (
            (f"vol_dens_{stem}", volume, f"volume density ({words})", "1",
             f"mesh volume over that of the {words}"),
            (f"area_dens_{stem}", area, f"area density ({words})", "1",
             f"mesh area over that of the {words}"),
        )
    ),
    ("integ_int", "99N0", "integrated intensity", "intensity mm3",
     "mean intensity times mesh volume"),
    ("moran_i", "N365", "Moran's I index", "1",
     "likeness of near voxels; about 0 is none, 1 perfect"),
    ("geary_c", "NPT7", "Geary's C measure", "1", "difference of near voxels; about 1 at random"),
)  # fmt: skip

LOCAL: Rows = (
    ("peak_loc", "VJGA", "local intensity peak", "intensity",
     "mean over the ball of 1 cm3 round the voxel of highest intensity"),
    ("peak_glob", "0F91", "global intensity peak", "intensity",
     "highest mean over a ball of 1 cm3 round a voxel of the region"),
)  # fmt: skip

STATISTICS: Rows = (
    ("mean", "Q4LE", "mean intensity", "intensity", "mean"),
    ("var", "ECT3", "intensity variance", "intensity^2", "mean squared distance from the mean"),
    ("skew", "KE2A", "intensity skewness", "1", "lean; positive with a long upper tail"),
    ("kurt", "IPH6", "(excess) intensity kurtosis", "1", "tails; 0 for a normal distribution"),
    ("median", "Y12H", "median intensity", "intensity", "half of the voxels lie below"),
    ("min", "1GSF", "minimum intensity", "intensity", "lowest"),
    ("p10", "QG58", "10th intensity percentile", "intensity", "a tenth of the voxels lie below"),
    ("p90", "8DWT", "90th intensity percentile", "intensity", "a tenth of the voxels lie above"),
    ("max", "84IY", "maximum intensity", "intensity", "highest"),
    ("iqr", "SALO", "intensity interquartile range", "intensity", "from lower to upper quartile"),
    ("range", "2OJQ", "intensity range", "intensity", "highest minus lowest"),
    ("mad", "4FUA", "intensity mean absolute deviation", "intensity",
     "mean distance from the mean"),
    ("rmad", "1128", "intensity robust mean absolute deviation", "intensity",
     "the same of voxels from the 10th to the 90th percentile"),
    ("medad", "N72L", "intensity median absolute deviation", "intensity",
     "mean distance from the median"),
    ("cov", "7TET", "intensity coefficient of variation", "1", "standard deviation over the mean"),
    ("qcod", "9S40", "intensity quartile coefficient of dispersion", "1",
     "difference of the quartiles over their sum"),
    ("energy", "N8CA", "intensity energy", "intensity^2", "sum of squares"),
    ("rms", "5ZWQ", "root mean square intensity", "intensity", "root of the mean square"),
)  # fmt: skip

HISTOGRAM: Rows = (
    ("mean", "X6K6", "mean discretised intensity", "1", "mean grey level"),
    ("var", "CH89", "discretised intensity variance", "1", "mean squared distance from the mean"),
    ("skew", "88K1", "discretised intensity skewness", "1",
     "lean; positive with a long upper tail"),
    ("kurt", "C3I7", "(excess) discretised intensity kurtosis", "1", "tails; 0 when normal"),
    ("median", "WIFQ", "median discretised intensity", "1", "half of the voxels lie below"),
    ("min", "1PR8", "minimum discretised intensity", "1", "lowest grey level"),
    ("p10", "GPMT", "10th discretised intensity percentile", "1",
     "a tenth of the voxels lie below"),
    ("p90", "OZ0C", "90th discretised intensity percentile", "1",
     "a tenth of the voxels lie above"),
    ("max", "3NCY", "maximum discretised intensity", "1", "highest grey level"),
    ("mode", "AMMC", "intensity histogram mode", "1", "most frequent grey level"),
    ("iqr", "WR0O", "discretised intensity interquartile range", "1", "between the quartiles"),
    ("range", "5Z3W", "discretised intensity range", "1", "highest minus lowest grey level"),
    ("mad", "D2ZX", "intensity histogram mean absolute deviation", "1",
     "mean distance from the mean"),
    ("rmad", "WRZB", "intensity histogram robust mean absolute deviation", "1",
     "the same of voxels from the 10th to the 90th percentile"),
    ("medad", "4RNL", "intensity histogram median absolute deviation", "1",
     "mean distance from the median"),
    ("cov", "CWYJ", "intensity histogram coefficient of variation", "1",
     "standard deviation over the mean"),
    ("qcod", "SLWD", "intensity histogram quartile coefficient of dispersion", "1",
     "difference of the quartiles over their sum"),
    ("entropy", "TLU2", "discretised intensity entropy", "bit", "disorder of the histogram"),
    ("uniformity", "BJ5W", "discretised intensity uniformity", "1",
     "sum of squared shares of the grey levels"),
    ("max_grad", "12CE", "maximum histogram gradient", "1", "steepest rise from level to level"),
    ("max_grad_g", "8E6O", "maximum histogram gradient intensity", "1", "grey level of that rise"),
    ("min_grad", "VQB3", "minimum histogram gradient", "1", "steepest fall from level to level"),
    ("min_grad_g", "RHQZ", "minimum histogram gradient intensity", "1", "grey level of that fall"),
)  # fmt: skip

VOLUME_HISTOGRAM: Rows = (
    ("v10", "BC2M", "volume at intensity fraction 10 %", "1",
     "share of voxels at or above a tenth of the range of intensities"),
    ("v90", "BC2M", "volume at intensity fraction 90 %", "1",
     "share of voxels at or above nine tenths of the range"),
    ("i10", "GBPN", "intensity at volume fraction 10 %", "intensity",
     "lowest intensity that at most a tenth of the voxels reach"),
    ("i90", "GBPN", "intensity at volume fraction 90 %", "intensity",
     "lowest intensity that at most nine tenths of the voxels reach"),
    ("diff_v10_v90", "DDTU", "difference of volume at 10 % and 90 % intensity", "1", "V10 - V90"),
    ("diff_i10_i90", "CNV2", "difference of intensity at 10 % and 90 % volume", "intensity",
     "I10 - I90"),
    ("auc", "9CMM", "area under the intensity-volume curve", "1",
     "volume fraction over intensity fraction; IBSI gives no reference value"),
)  # fmt: skip

_AXES = (("x", "first"), ("y", "second"), ("z", "third"))
_STAGES = (
    ("init_roi", "stored"),
    ("interp_roi", "interpolated"),
    ("reseg_roi", "re-segmented"),
)
_MASKS = (("int", "intensity"), ("morph", "morphological"))


def _of_image(stage: str, words: str) -> list[tuple[str, str, str, str]]:
    return [
        *((f"img_dim_{a}_{stage}", "image size", "1", f"voxels along the {n} axis, {words}")
          for a, n in _AXES),
        *((f"vox_dim_{a}_{stage}", "voxel size", "mm", f"along the {n} axis, {words}")
          for a, n in _AXES),
        *((f"{e}_int_{stage}", f"{n} intensity", "intensity", f"of the image, {words}")
          for e, n in (("mean", "mean"), ("min", "minimum"), ("max", "maximum"))),
    ]  # fmt: skip


def _of_masks(stage: str, words: str) -> list[tuple[str, str, str, str]]:
    return [
        *((f"int_mask_dim_{a}_{stage}", "mask size", "1", f"voxels along the {n} axis, {words}")
          for a, n in _AXES),
        *((f"{m}_mask_bb_dim_{a}_{stage}", "bounding box", "1",
           f"of the {w} mask along the {n} axis, {words}")
          for m, w in _MASKS for a, n in _AXES),
        *((f"{m}_mask_vox_count_{stage}", "voxels", "1", f"of the {w} mask, {words}")
          for m, w in _MASKS),
        *((f"int_mask_{e}_int_{stage}", f"{n} intensity", "intensity",
           f"of the intensity mask, {words}")
          for e, n in (("mean", "mean"), ("min", "minimum"), ("max", "maximum"))),
    ]  # fmt: skip


#: Numbers that describe the preparation: tag, name, unit, definition.
DIAGNOSTICS: tuple[tuple[str, str, str, str], ...] = (
    *_of_image("init_img", "stored"),
    *_of_image("interp_img", "interpolated"),
    *(row for stage, words in _STAGES for row in _of_masks(stage, words)),
)
