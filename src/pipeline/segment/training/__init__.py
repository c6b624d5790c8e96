"""From a sheet of images and masks to trained networks: plan, folds, patches, loop, checkpoint.

No file is read or written here: the verb `train` does that and hands in arrays.
"""
