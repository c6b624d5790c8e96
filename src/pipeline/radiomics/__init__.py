"""Radiomics: PyRadiomics' features of a region, their dictionary, and their change over time."""
