"""Rigid, affine and deformable registration; displacement fields and Jacobian maps."""
