"""Nomograms of Cox and logistic models: points, total points and probabilities.

The axes are those of ``rms::nomogram`` (R), tick by tick: the widest variable spans the full
score, total points run in round steps, and each probability axis maps total points back to the
probability of the model. A reader adds the points of the variables and reads the sum.
"""

from pipeline.model.nomogram.axes import Nomogram, ProbabilityAxis, VariableAxis
from pipeline.model.nomogram.build import build_nomogram
from pipeline.model.nomogram.fitted import nomogram_model_of_cox, nomogram_model_of_logistic
from pipeline.model.nomogram.model import ModelKind, NomogramModel, Probability, Uncertainty
from pipeline.model.nomogram.reading import outside_of, points_of, predict, probability_of
from pipeline.model.nomogram.ticks import pretty

__all__ = [
    "ModelKind",
    "Nomogram",
    "NomogramModel",
    "Probability",
    "ProbabilityAxis",
    "Uncertainty",
    "VariableAxis",
    "build_nomogram",
    "nomogram_model_of_cox",
    "nomogram_model_of_logistic",
    "outside_of",
    "points_of",
    "predict",
    "pretty",
    "probability_of",
]
