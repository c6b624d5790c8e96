"""One family of errors. A message names the value, the limit, the place and the remedy."""


class MedpipeError(Exception):
    """Base of every error that a user can cause and mend."""


class ReadError(MedpipeError):
    """A file is missing, truncated, corrupt, oversized or of an unsupported kind."""


class WriteError(MedpipeError):
    """A result cannot be written: disk full, folder read-only, unsupported file ending."""


class GeometryError(MedpipeError):
    """A grid is invalid, or two grids that must agree do not."""


class SettingsError(MedpipeError):
    """A setting or option has no meaning; names its full path."""


class CohortError(MedpipeError):
    """The sheets are wrong. Carries one line per problem: file, row and remedy."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        noun = "problem" if len(problems) == 1 else "problems"
        super().__init__(f"{len(problems)} {noun} in the sheets:\n  " + "\n  ".join(problems))


class EmptyRegionError(MedpipeError):
    """A region of interest holds no voxel where at least one is needed."""


class ConvergenceError(MedpipeError):
    """An iterative method did not reach a usable solution."""


class ModelError(MedpipeError):
    """A table cannot be modelled: one class, no complete feature, a subject in two folds."""


class ImageError(MedpipeError):
    """The intensities of an image do not allow what was asked: not finite, constant, negative."""
