"""PyRadiomics' image types on the part of an image that a region needs, at its values."""

from pipeline.radiomics.filters.apply import Filtered, filtered, support_voxels
from pipeline.radiomics.filters.source import Box, Source, source_of

__all__ = ["Box", "Filtered", "Source", "filtered", "source_of", "support_voxels"]
