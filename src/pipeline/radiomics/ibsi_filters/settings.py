"""What each family of filters can be told: one frozen record a family, checked when made."""

from dataclasses import dataclass
from typing import Literal, get_args

from pipeline.errors import SettingsError
from pipeline.radiomics.ibsi_filters.kernels import LAWS, WAVELETS

#: How the image goes on beyond its edge (IBSI GBYQ): zeros; the edge voxel; the image again from
#: its other side; the image mirrored about its edge, the edge voxel twice.
Boundary = Literal["zero", "nearest", "periodic", "mirror"]
Pooling = Literal["max", "mean", "min"]
WaveletFamily = Literal["haar", "db2", "db3", "coif1"]
NonSeparableFamily = Literal["simoncelli", "shannon"]


@dataclass(frozen=True, kw_only=True)
class _Common:
    """Settings of every filter.

    Attributes
    ----------
    boundary : Boundary
        How the image goes on beyond its edge.
    by_slice : bool
        Filter each slice (i, j) for itself, with the filter in 2D; else the volume in 3D.
    """

    boundary: Boundary = "mirror"
    by_slice: bool = False

    def __post_init__(self) -> None:
        _check_choice("boundary", self.boundary, get_args(Boundary))

    @property
    def dimensions(self) -> int:
        """Number of axes that the filter has."""
        return 2 if self.by_slice else 3


@dataclass(frozen=True, kw_only=True)
class MeanSettings(_Common):
    """Mean filter (S60F): `support` voxels along each axis (YNOF), an odd number."""

    support: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.support < 1 or self.support % 2 == 0:
            raise SettingsError(f"support {self.support}: give an odd number of voxels, e.g. 5")


@dataclass(frozen=True, kw_only=True)
class LogSettings(_Common):
    """Laplacian of Gaussian (L6PA).

    Attributes
    ----------
    sigma_mm : float
        Standard deviation of the Gaussian (41LN).
    cutoff : float
        The kernel ends at this many standard deviations (WGPM).
    """

    sigma_mm: float
    cutoff: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive("sigma_mm", self.sigma_mm)
        _check_positive("cutoff", self.cutoff)


@dataclass(frozen=True, kw_only=True)
class LawsSettings(_Common):
    """Laws kernels (JTXT).

    Attributes
    ----------
    kernels : str
        One kernel per axis, in the order i, j, k: ``L5E5S5`` (3D) or ``L5S5`` (by slice).
    rotation_invariant : bool
        Pool the responses over all right-angle rotations of the filter.
    pooling : Pooling
        How they are pooled.
    energy_distance : int
        Chebyshev distance of the neighbourhood over which the absolute response is averaged to
        the texture energy (I176); 0 gives the response itself.
    """

    kernels: str
    rotation_invariant: bool = False
    pooling: Pooling = "max"
    energy_distance: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("pooling", self.pooling, get_args(Pooling))
        unknown = [name for name in self.names if name not in LAWS]
        if unknown or len(self.names) != self.dimensions:
            raise SettingsError(
                f"kernels {self.kernels}: give {self.dimensions} of {', '.join(LAWS)}, "
                f"one per axis, e.g. {'L5E5' if self.by_slice else 'L5E5S5'}"
            )
        if self.energy_distance < 0:
            raise SettingsError(f"energy_distance {self.energy_distance}: give 0 or more voxels")

    @property
    def names(self) -> tuple[str, ...]:
        """The kernels, one per axis."""
        text = self.kernels.upper()
        return tuple(text[at : at + 2] for at in range(0, len(text), 2))


@dataclass(frozen=True, kw_only=True)
class GaborSettings(_Common):
    """Modulus of the response to a 2D Gabor filter (Q88H).

    By slice, the filter lies in the planes (i, j); else the responses of the planes (i, j),
    (i, k) and (j, k) are averaged.

    Attributes
    ----------
    sigma_mm : float
        Standard deviation of the Gaussian envelope (41LN).
    lambda_mm : float
        Wavelength (S4N6).
    gamma : float
        Aspect ratio (GDR5): the envelope's deviation across the wave is sigma / gamma.
    theta_deg : float
        Angle from the plane's first axis towards its second (FQER): clockwise on the screen.
    delta_theta_deg : float, optional
        With it, theta goes once round from `theta_deg` in such steps (XTGK) and the moduli are
        pooled.
    pooling : Pooling
        How they are pooled.
    cutoff : float
        The kernel ends at this many standard deviations of the longer side of its envelope.
    """

    sigma_mm: float
    lambda_mm: float
    gamma: float = 1.0
    theta_deg: float = 0.0
    delta_theta_deg: float | None = None
    pooling: Pooling = "mean"
    cutoff: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("pooling", self.pooling, get_args(Pooling))
        for name in ("sigma_mm", "lambda_mm", "gamma", "cutoff"):
            _check_positive(name, getattr(self, name))
        if self.delta_theta_deg is not None:
            _check_positive("delta_theta_deg", self.delta_theta_deg)


@dataclass(frozen=True, kw_only=True)
class WaveletSettings(_Common):
    """Undecimated separable wavelets.

    Attributes
    ----------
    family : WaveletFamily
        ``haar`` (UOUE), ``db2`` or ``db3`` (Daubechies), ``coif1`` (Coiflet).
    subband : str
        Low (L) or high (H) pass per axis, in the order i, j, k: ``LHL`` (3D), ``LH`` (by slice).
    level : int
        Decomposition level (GCEK), 1 the finest: below it all axes are low-passed, and the
        kernels are spread by zeros (à trous).
    rotation_invariant : bool
        Pool the responses over all right-angle rotations of the filter.
    pooling : Pooling
        How they are pooled.
    """

    family: WaveletFamily
    subband: str
    level: int = 1
    rotation_invariant: bool = False
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("family", self.family, tuple(WAVELETS))
        _check_choice("pooling", self.pooling, get_args(Pooling))
        _check_level(self.level)
        if len(self.subband) != self.dimensions or set(self.subband.upper()) - {"L", "H"}:
            raise SettingsError(
                f"subband {self.subband}: give L or H for each of {self.dimensions} axes, "
                f"e.g. {'LH' if self.by_slice else 'LLH'}"
            )


@dataclass(frozen=True, kw_only=True)
class NonSeparableSettings(_Common):
    """Isotropic wavelets made in the Fourier domain: the band pass (B map) of a level.

    Attributes
    ----------
    family : NonSeparableFamily
        ``simoncelli`` (PRT7): a cosine over log frequency; ``shannon`` (9BC3): a box.
    level : int
        Decomposition level: the band ends at pi / 2^(level - 1) per voxel.
    inclusive_grid : bool
        With a periodic boundary, take the N frequencies of an axis from -pi to pi, both ends
        included, as the programs did whose maps became the IBSI's reference; else those of the
        discrete Fourier transform. Other boundaries always use the latter.
    boundary : Boundary
        Periodic, as the transform is; any other filters an image of twice the size.
    """

    boundary: Boundary = "periodic"
    family: NonSeparableFamily = "simoncelli"
    level: int = 1
    inclusive_grid: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("family", self.family, get_args(NonSeparableFamily))
        _check_level(self.level)


@dataclass(frozen=True, kw_only=True)
class RieszSettings(_Common):
    """Riesz transform (AYRS) of a LoG or a non-separable wavelet.

    Boundary and `by_slice` here hold for both; those of `of` are not used. Any boundary but the
    periodic one filters an image of twice the size along each axis.

    Attributes
    ----------
    of : LogSettings or NonSeparableSettings
        What is transformed.
    order : tuple of int
        Order of the transform along each axis, i, j, k: (1, 0, 0) resembles the derivative
        along i.
    tensor_sigma_mm : float, optional
        With it, the filter is turned at each voxel so that its axes lie along the eigenvectors
        of the structure tensor (largest eigenvalue first); this is the standard deviation of the
        Gaussian that averages the tensor.
    """

    of: LogSettings | NonSeparableSettings
    order: tuple[int, ...]
    tensor_sigma_mm: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.order) != self.dimensions or min(self.order) < 0 or sum(self.order) == 0:
            example = (1, 0) if self.by_slice else (1, 0, 0)
            raise SettingsError(
                f"order {self.order}: give {self.dimensions} numbers of 0 or more, not all 0, "
                f"e.g. {example}"
            )
        if self.tensor_sigma_mm is not None:
            _check_positive("tensor_sigma_mm", self.tensor_sigma_mm)


FilterSettings = (
    MeanSettings
    | LogSettings
    | LawsSettings
    | GaborSettings
    | WaveletSettings
    | NonSeparableSettings
    | RieszSettings
)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} {value}: give one of {', '.join(choices)}")


def _check_positive(name: str, value: float) -> None:
    if not 0.0 < value < float("inf"):
        raise SettingsError(f"{name} {value:g}: give a number above 0")


def _check_level(level: int) -> None:
    if not 1 <= level <= 12:
        raise SettingsError(f"level {level}: give a decomposition level from 1 to 12")
