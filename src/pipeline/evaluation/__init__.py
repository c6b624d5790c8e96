"""How well a segmentation agrees with a reference: overlap, surfaces, slices, cohort summary."""
