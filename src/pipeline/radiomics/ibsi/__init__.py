"""The features of the Image Biomarker Standardisation Initiative (IBSI), part 1.

Definitions, codes and processing steps are those of the reference manual (arXiv:1612.07003v11;
Zwanenburg et al. 2020, doi:10.1148/radiol.2020191145). Nothing here rests on PyRadiomics.
"""
