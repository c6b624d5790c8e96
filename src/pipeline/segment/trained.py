"""A trained network in memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.segment.plan import Plan

if TYPE_CHECKING:
    from pipeline.segment.networks import Network


@dataclass(frozen=True, eq=False)
class Model:
    """A network that is ready to use.

    Attributes
    ----------
    plan : Plan
        Grid, intensities and classes.
    network : Network
        In evaluation mode, with its weights.
    card : mapping
        Training data, licence, metrics and whatever else its author states.
    name : str
        Of its folder.
    """

    plan: Plan
    network: "Network"
    card: Mapping[str, Any]
    name: str
