"""What is measured of a region: image types, classes, grey levels, and what comes before them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Literal, get_args

from pipeline.errors import SettingsError
from pipeline.preprocess.kernels import INTERPOLATIONS
from pipeline.radiomics.calculate import TextureSettings
from pipeline.radiomics.dictionary import CLASS_COUNTS, FeatureClass, features_of

ImageKind = Literal[
    "original", "wavelet", "log", "square", "squareroot", "logarithm", "exponential", "gradient",
    "lbp2d", "lbp3d",
]  # fmt: skip
IMAGE_KINDS: tuple[ImageKind, ...] = get_args(ImageKind)

#: Features of PyRadiomics' class shape2D (one slice only): name -> ending of the column.
SHAPE_2D: Mapping[str, str] = {
    "Elongation": "", "MajorAxisLength": "_mm", "MaximumDiameter": "_mm", "MeshSurface": "_mm2",
    "MinorAxisLength": "_mm", "Perimeter": "_mm", "PerimeterSurfaceRatio": "_per_mm",
    "PixelSurface": "_mm2", "Sphericity": "",
}  # fmt: skip


@dataclass(frozen=True)
class ImageType:
    """One filter with its options, and the grey levels of what it yields.

    Attributes
    ----------
    kind : str
        One of `IMAGE_KINDS`.
    texture : TextureSettings
        Grey levels and neighbours on these images; its `force_2d` also keeps the wavelet, and
        its `force_2d_axis` the 2-D binary patterns, within a plane.
    sigma_mm : tuple of float
        Widths of the Gaussian of "log", one image each. An int stays one in the column's name.
    wavelet, level, start_level : str, int, int
        Family, number of levels, and the first of them.
    gradient_uses_spacing : bool
        Gradient per mm instead of per voxel.
    lbp_2d_radius, lbp_2d_samples, lbp_2d_method : float, int, str
        Circle of the 2-D local binary patterns, in voxels.
    lbp_3d_levels, lbp_3d_radius, lbp_3d_subdivision : int, float, int
        Spherical harmonics and sphere of the 3-D ones.
    """

    kind: ImageKind
    texture: TextureSettings = field(default_factory=TextureSettings)
    sigma_mm: tuple[float, ...] = ()
    wavelet: str = "coif1"
    level: int = 1
    start_level: int = 0
    gradient_uses_spacing: bool = True
    lbp_2d_radius: float = 1.0
    lbp_2d_samples: int = 8
    lbp_2d_method: Literal["default", "ror", "uniform", "var"] = "uniform"
    lbp_3d_levels: int = 2
    lbp_3d_radius: float = 1.0
    lbp_3d_subdivision: int = 1

    def __post_init__(self) -> None:
        if self.kind not in IMAGE_KINDS:
            raise SettingsError(
                f"image type {self.kind!r} is unknown; choose from {', '.join(IMAGE_KINDS)}"
            )
        if self.kind == "log" and not self.sigma_mm:
            raise SettingsError("image type log needs its widths in mm: --log-sigma 1,2,3")
        if any(not 0 < sigma < float("inf") for sigma in self.sigma_mm):
            raise SettingsError(f"sigma is {self.sigma_mm}; widths in mm must be above 0")
        if self.level < 1 or self.start_level < 0:
            raise SettingsError(
                f"wavelet level {self.level} from {self.start_level}; at least 1 level from 0"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """PyRadiomics' names of the images that this yields, in its order."""
        if self.kind == "log":
            return tuple(f"log-sigma-{str(s).replace('.', '-')}-mm-3D" for s in self.sigma_mm)
        if self.kind == "wavelet":
            axes = 2 if self.texture.force_2d else 3
            bands = ["".join(band) for band in product("LH", repeat=axes)]
            low, high = bands[0], bands[1:]
            numbers = ["", *map(str, range(2, self.level + 1))]
            details = [f"wavelet{n}-{band}" for n in numbers for band in high]
            return (*details, f"wavelet{numbers[-1]}-{low}")
        if self.kind == "lbp2d":
            return ("lbp-2D",)
        if self.kind == "lbp3d":
            return (*(f"lbp-3D-m{n}" for n in range(1, self.lbp_3d_levels + 1)), "lbp-3D-k")
        return (self.kind,)


@dataclass(frozen=True)
class Resegmentation:
    """Limits that voxels of the region must keep to [resegmentRange, -Mode, -Shape].

    Attributes
    ----------
    limits : one or two floats
        Lowest, and perhaps highest, intensity that stays.
    mode : {"absolute", "relative", "sigma"}
        In intensity units; as a share of the region's maximum; in standard deviations from
        the region's mean.
    shape : bool
        The shape, too, is that of what stays.
    """

    limits: tuple[float, ...]
    mode: Literal["absolute", "relative", "sigma"] = "absolute"
    shape: bool = False

    def __post_init__(self) -> None:
        if len(self.limits) not in (1, 2):
            raise SettingsError(f"re-segmentation limits {self.limits}; give one or two numbers")
        if self.mode not in ("absolute", "relative", "sigma"):
            raise SettingsError(
                f"re-segmentation mode {self.mode!r}; choose absolute, relative or sigma"
            )


@dataclass(frozen=True)
class Normalisation:
    """Mean 0 and standard deviation `scale` over the whole image [normalize, normalizeScale].

    Attributes
    ----------
    scale : float
        Standard deviation afterwards.
    outliers : float or None
        Values beyond so many standard deviations are set to that limit [removeOutliers].
    """

    scale: float = 1
    outliers: float | None = None


@dataclass(frozen=True)
class Resampling:
    """A grid of another spacing, before anything else is computed.

    Attributes
    ----------
    spacing_mm : three floats
        Along i, j, k. With the way of PyRadiomics, 0 keeps the spacing of that axis.
    way : {"own", "pyradiomics"}
        "own" aligns the centres of the fields of view and keeps the interpolated values;
        "pyradiomics" is its `resampleImage`: grids aligned at the corner, the region's box
        with `pad_voxels` around it, values in the type of the file.
    interpolation : str
        Of `pipeline.preprocess.kernels` for "own"; SimpleITK's name (sitkBSpline) else.
    pad_voxels : int
        [padDistance], for the way of PyRadiomics.
    """

    spacing_mm: tuple[float, float, float]
    way: Literal["own", "pyradiomics"] = "own"
    interpolation: str = "bspline3"
    pad_voxels: int = 5

    def __post_init__(self) -> None:
        if self.way == "own" and self.interpolation not in INTERPOLATIONS:
            raise SettingsError(
                f"interpolation {self.interpolation!r} is unknown; choose from "
                f"{', '.join(INTERPOLATIONS)}"
            )


@dataclass(frozen=True)
class ExtractionProfile:
    """Everything that the numbers of a region follow from, besides image and mask.

    Attributes
    ----------
    images : tuple of ImageType
        In the order of the columns.
    classes : tuple of str
        Feature classes; the shape belongs to the region, the others to each image.
    features : mapping of str to tuple of str
        PyRadiomics' names of the features wanted of a class; all where a class is not named.
    shape_2d : bool
        Also the shape within the plane, for regions of one slice [shape2D].
    clip : (float, float) or None
        Intensities are first limited to this range.
    normalisation, resampling, resegmentation : objects or None
        Steps before the features, in this order.
    crop_pad_voxels : int or None
        Filters see no more than the region's box with so many voxels around it [preCrop].
    min_voxels, min_dimensions : int
        A region with fewer voxels, or extended along fewer axes, is too small.
    """

    images: tuple[ImageType, ...] = (ImageType("original"),)
    classes: tuple[FeatureClass, ...] = tuple(CLASS_COUNTS)
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shape_2d: bool = False
    clip: tuple[float, float] | None = None
    normalisation: Normalisation | None = None
    resampling: Resampling | None = None
    resegmentation: Resegmentation | None = None
    crop_pad_voxels: int | None = None
    min_voxels: int = 8
    min_dimensions: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.min_dimensions <= 3:
            raise SettingsError(
                f"minimum dimensions is {self.min_dimensions}; it must be 1, 2 or 3"
            )
        if not self.images:
            raise SettingsError("no image type; name at least one, as original")
        names = [name for image in self.images for name in image.names]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SettingsError(f"image {twice[0]} would be computed twice; name it once")
        if self.classes or not self.shape_2d:
            features_of(self.classes)

    @property
    def texture_classes(self) -> tuple[FeatureClass, ...]:
        """The classes that depend on the intensities."""
        return tuple(name for name in self.classes if name != "shape")

    @property
    def shape_columns(self) -> tuple[str, ...]:
        """Columns that each region has once."""
        flat = [n for n in SHAPE_2D if n in self.features.get("shape2D", tuple(SHAPE_2D))]
        flat_columns = tuple(f"shape2D_{name}{SHAPE_2D[name]}" for name in flat)
        solid = self._columns(("shape",)) if "shape" in self.classes else ()
        return (*solid, *(flat_columns if self.shape_2d else ()))

    @property
    def texture_columns(self) -> tuple[str, ...]:
        """Columns that each image has, without its name in front."""
        return self._columns(self.texture_classes) if self.texture_classes else ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Every feature column, in the order of the tables."""
        images = (name for image in self.images for name in image.names)
        textures = (column_of(name, c) for name in images for c in self.texture_columns)
        return (*self.shape_columns, *textures)

    def _columns(self, classes: tuple[FeatureClass, ...]) -> tuple[str, ...]:
        return tuple(
            feature.column
            for feature in features_of(classes)
            if feature.pyradiomics
            in self.features.get(feature.feature_class, (feature.pyradiomics,))
        )


def column_of(image_name: str, column: str) -> str:
    """Return the column of a feature on an image; the original has no name in front."""
    return column if image_name == "original" else f"{image_name}_{column}"
