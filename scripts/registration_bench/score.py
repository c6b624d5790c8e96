"""One score for all engines: a displacement field against the map that is known."""

from dataclasses import dataclass

import numpy as np

from pipeline.grid_difference import check_same_grid
from pipeline.registration.jacobian import jacobian_determinant
from pipeline.types import DisplacementField
from scripts.registration_bench.lesion import Case

#: Folded voxels count with this ratio in the error of log J.
_LEAST_RATIO = 1e-3


@dataclass(frozen=True)
class Score:
    """How near a field comes to the truth.

    Attributes
    ----------
    mean_jacobian, true_jacobian : float
        Mean of det J over the lesion, found and analytic.
    log_jacobian_error : float
        Mean of |log J - log J_true| over the lesion.
    correlation : float
        Of J with J_true over the lesion's voxels.
    target_error_mm, target_before_mm : float
        Mean distance to the true point over the lesion; before: of the identity.
    outside_error_mm : float
        The same in the body beyond two radii (`Case.outside`).
    folds : int
        Voxels of the whole grid with det J of 0 or less.
    """

    mean_jacobian: float
    true_jacobian: float
    log_jacobian_error: float
    correlation: float
    target_error_mm: float
    target_before_mm: float
    outside_error_mm: float
    folds: int

    @property
    def ratio_error(self) -> float:
        """Relative error of the mean Jacobian."""
        return self.mean_jacobian / self.true_jacobian - 1


#: What is to be reached on every variant: attribute of `Score`, bound on its absolute value.
MOST = {
    "ratio_error": 0.01,
    "log_jacobian_error": 0.035,
    "target_error_mm": 0.15,
    "outside_error_mm": 0.05,
    "folds": 0,
}
LEAST_CORRELATION = 0.985


def score(field: DisplacementField, case: Case) -> Score:
    """Compare a field with the truth of its case.

    Raises
    ------
    GeometryError
        If the field does not lie on the fixed image's grid.
    """
    check_same_grid(case.truth.grid, field.grid, ("the fixed image", "the field"))
    determinant = jacobian_determinant(field.data, field.grid)
    found, true = determinant[case.lesion], case.jacobian[case.lesion]
    logs = np.log(np.maximum(found, _LEAST_RATIO)) - np.log(true)
    error = np.linalg.norm(field.data - case.truth.data, axis=-1)
    return Score(
        mean_jacobian=float(found.mean()),
        true_jacobian=float(true.mean()),
        log_jacobian_error=float(np.abs(logs).mean()),
        correlation=float(np.corrcoef(found, true)[0, 1]) if found.std() > 0 else 0.0,
        target_error_mm=float(error[case.lesion].mean()),
        target_before_mm=float(np.linalg.norm(case.truth.data[case.lesion], axis=-1).mean()),
        outside_error_mm=float(error[case.outside].mean()),
        folds=int((determinant <= 0).sum()),
    )


def shortfalls(found: Score) -> list[str]:
    """Return the names of the bounds that a score misses."""
    missed = [name for name, most in MOST.items() if abs(getattr(found, name)) > most]
    return missed + (["correlation"] if found.correlation < LEAST_CORRELATION else [])
