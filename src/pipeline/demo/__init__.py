"""Simulated longitudinal breast DCE-MRI whose masks, fields and Jacobians are known exactly."""
