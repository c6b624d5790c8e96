"""Convolutional filters as the IBSI defines them, their benchmark settings and phantoms.

Source: IBSI reference manual on convolutional filters, arXiv:2006.05470; Whybra et al.,
Radiology 2024. The manual's axes (k1, k2, k3) are the array axes (i, j, k): column, row, slice.
"""

from pipeline.radiomics.ibsi_filters.benchmarks import PHASE1, PHASE2, FilterTest
from pipeline.radiomics.ibsi_filters.phantoms import PHANTOMS, phantom
from pipeline.radiomics.ibsi_filters.respond import response
from pipeline.radiomics.ibsi_filters.settings import (
    Boundary,
    FilterSettings,
    GaborSettings,
    LawsSettings,
    LogSettings,
    MeanSettings,
    NonSeparableSettings,
    Pooling,
    RieszSettings,
    WaveletSettings,
)

__all__ = [
    "PHANTOMS",
    "PHASE1",
    "PHASE2",
    "Boundary",
    "FilterSettings",
    "FilterTest",
    "GaborSettings",
    "LawsSettings",
    "LogSettings",
    "MeanSettings",
    "NonSeparableSettings",
    "Pooling",
    "RieszSettings",
    "WaveletSettings",
    "phantom",
    "response",
]
