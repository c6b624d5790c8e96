"""Maps of features: a value for the window around each voxel of a region."""
