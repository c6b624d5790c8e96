"""The 107 features of a region in whole-array operations, at the values of PyRadiomics 3.0.1.

Each class lies in a file of its own; `measure` shares one discretisation among them. Arrays are
indexed [k, j, i] here, as PyRadiomics sees them: the sense of a direction then agrees, and sums
run in much the same order. Names of features are PyRadiomics' own.

Values agree to 1e-9 of each, and where a feature is undefined both say NaN, but for three cases:
where a value is 0 but for rounding, the two round differently; a mesh that encloses exactly
nothing has no ratio of surface to volume here; and neighbours further away than the region is
wide are none here, while PyRadiomics breaks off.
"""

from pipeline.radiomics.engine.measure import Measured, measure
from pipeline.radiomics.engine.settings import TextureSettings

__all__ = ["Measured", "TextureSettings", "measure"]
