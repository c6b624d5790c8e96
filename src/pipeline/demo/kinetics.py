"""Contrast agent and MR signal: wash-in and wash-out, spoiled gradient echo, coil, noise."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

#: Population arterial input, Weinmann et al. 1984 as fitted by Tofts & Kermode 1991
#: (doi:10.1002/mrm.1910170208): Cp(t) = dose * sum_i a_i exp(-m_i t).
DOSE_MMOL_PER_KG = 0.1
AIF_AMPLITUDES_KG_PER_L = (3.99, 4.78)
AIF_RATES_PER_MIN = (0.144, 0.0111)
#: Haematocrit of a large vessel: blood holds (1 - h) Cp.
HAEMATOCRIT = 0.42
#: Gadobutrol r1 in plasma at 37 C, per mM and s: Rohrer et al. 2005
#: (doi:10.1097/01.rli.0000184756.66360.d3), 5.2 at 1.5 T and 5.0 at 3 T.
RELAXIVITY_PER_MM_S = {1.5: 5.2, 3.0: 5.0}


@dataclass(frozen=True)
class Tissue:
    """What a tissue does in the scanner.

    Attributes
    ----------
    t1_ms : {field strength in T: T1 in ms}
        Breast fat and fibro-glandular tissue after Rakow-Penner et al. 2006
        (doi:10.1002/jmri.20469); muscle and blood after Stanisz et al. 2005
        (doi:10.1002/mrm.20605); tumour, skin and the rest are round numbers between those.
    t2star_ms : float
        T2* in ms.
    density : float
        Proton density, relative; for fat it holds what fat suppression leaves.
    ktrans_per_min, ve : float
        Transfer constant and extravascular extracellular fraction of the Tofts model.
    """

    t1_ms: dict[float, float]
    t2star_ms: float
    density: float
    ktrans_per_min: float
    ve: float


#: Order of the columns that `anatomy.tissue_fractions` returns.
TISSUES = ("skin", "fat", "gland", "muscle", "rib", "lung", "vessel", "lesion")

PROPERTIES = {
    "skin": Tissue({1.5: 850.0, 3.0: 1000.0}, 20.0, 0.85, 0.045, 0.25),
    "fat": Tissue({1.5: 296.0, 3.0: 367.0}, 45.0, 0.16, 0.004, 0.10),
    "gland": Tissue({1.5: 1266.0, 3.0: 1445.0}, 40.0, 0.90, 0.022, 0.30),
    "muscle": Tissue({1.5: 1008.0, 3.0: 1412.0}, 28.0, 0.85, 0.030, 0.15),
    "rib": Tissue({1.5: 700.0, 3.0: 850.0}, 8.0, 0.35, 0.020, 0.10),
    "lung": Tissue({1.5: 1100.0, 3.0: 1300.0}, 2.0, 0.25, 0.010, 0.10),
    "vessel": Tissue({1.5: 1441.0, 3.0: 1932.0}, 50.0, 0.95, 0.0, 1.0),
    "lesion": Tissue({1.5: 1150.0, 3.0: 1340.0}, 40.0, 0.92, 0.30, 0.42),
}


def plasma_concentration(time_s: float) -> float:
    """Return Cp in mM at a time after injection; 0 before it."""
    if time_s <= 0:
        return 0.0
    minutes = time_s / 60.0
    pairs = zip(AIF_AMPLITUDES_KG_PER_L, AIF_RATES_PER_MIN, strict=True)
    return DOSE_MMOL_PER_KG * float(sum(a * np.exp(-m * minutes) for a, m in pairs))


def tissue_concentration(time_s: float, *, ktrans_per_min: Values, ve: Values | float) -> Values:
    """Return the Tofts concentration in mM for each transfer constant.

    Parameters
    ----------
    time_s : float
        Seconds after injection.
    ktrans_per_min : (n,) array
        Transfer constants.
    ve : (n,) array or float
        Extravascular extracellular fraction; the wash-out rate is kep = Ktrans / ve.

    Returns
    -------
    (n,) array
        dose Ktrans sum_i a_i (exp(-kep t) - exp(-m_i t)) / (m_i - kep), the convolution of
        the input with Ktrans exp(-kep t) (Tofts & Kermode 1991).
    """
    ktrans = np.asarray(ktrans_per_min, dtype=np.float64)
    if time_s <= 0:
        return np.zeros_like(ktrans)
    minutes = time_s / 60.0
    kep = ktrans / ve
    total = np.zeros_like(ktrans)
    for amplitude, rate in zip(AIF_AMPLITUDES_KG_PER_L, AIF_RATES_PER_MIN, strict=True):
        gap = rate - kep
        # expm1 keeps the limit t exp(-kep t) of gap -> 0 exact.
        safe = np.where(np.abs(gap) < 1e-9, 1e-9, gap)
        total += amplitude * np.exp(-kep * minutes) * -np.expm1(-safe * minutes) / safe
    return DOSE_MMOL_PER_KG * ktrans * total


def spoiled_gradient_echo(
    r1_per_s: Values,
    *,
    tr_ms: float,
    te_ms: float,
    flip_deg: float,
    t2star_ms: float,
    density: float = 1.0,
) -> Values:
    """Return the steady-state signal of a spoiled gradient echo.

    Parameters
    ----------
    r1_per_s : array
        Longitudinal rate 1 / T1, contrast agent included.
    tr_ms, te_ms, flip_deg, t2star_ms : float
        Repetition time, echo time, flip angle, T2*.
    density : float
        Proton density M0.

    Returns
    -------
    array
        M0 sin(a) (1 - E) / (1 - cos(a) E) exp(-TE / T2*), E = exp(-TR R1): the Ernst formula
        (Haase et al. 1986, doi:10.1016/0022-2364(86)90433-6).
    """
    decay = np.exp(-tr_ms / 1000.0 * np.asarray(r1_per_s, dtype=np.float64))
    angle = np.deg2rad(flip_deg)
    steady = np.sin(angle) * (1.0 - decay) / (1.0 - np.cos(angle) * decay)
    return np.asarray(density * steady * np.exp(-te_ms / t2star_ms))


def rician(signal: Values, noise: float, rng: np.random.Generator) -> Values:
    """Return the magnitude of `signal` with complex Gaussian noise of SD `noise` per channel.

    Second moment: E[M^2] = signal^2 + 2 noise^2; where there is no signal the mean is
    noise sqrt(pi / 2) (Gudbjartsson & Patz 1995, doi:10.1002/mrm.1910340618).
    """
    real = signal + rng.normal(0.0, noise, signal.shape)
    return np.hypot(real, rng.normal(0.0, noise, signal.shape))


def coil_profile(unit_points: Values, coefficients: Values) -> Values:
    """Return a smooth positive sensitivity: exp of a polynomial of degree two.

    Parameters
    ----------
    unit_points : (n, 3) array
        Positions scaled to about [-1, 1].
    coefficients : (9,) array
        Of x, y, z, x^2, y^2, z^2, xy, yz, zx.

    Returns
    -------
    (n,) array
        Multiplicative field, 1 at the origin.
    """
    x, y, z = unit_points.T
    terms = (x, y, z, x * x, y * y, z * z, x * y, y * z, z * x)
    total = sum(c * term for c, term in zip(coefficients, terms, strict=True))
    return np.asarray(np.exp(total))
