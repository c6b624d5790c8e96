"""Array aliases of the model block, plain floats of arrays, and the check of labels."""

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


def as_labels(labels: npt.ArrayLike, *, what: str = "the rows") -> Bool:
    """Return 0/1 labels as booleans; raise ModelError unless both classes are present."""
    values = np.asarray(labels, dtype=np.float64)
    if values.ndim != 1 or not np.isin(values, (0.0, 1.0)).all():
        raise ModelError(f"labels of {what} must be one column of 0 and 1; mend the outcome column")
    positive = values == 1.0
    if positive.all() or not positive.any():
        raise ModelError(
            f"{what} hold {positive.sum()} cases of class 1 and {(~positive).sum()} of class 0; "
            "both classes are needed: check the outcome and split columns of the subjects sheet"
        )
    return np.asarray(positive)


def as_floats(values: npt.ArrayLike) -> tuple[float, ...]:
    """Return numbers as plain floats, as records and frozen models hold them."""
    return tuple(float(v) for v in np.asarray(values, dtype=np.float64))
