"""The visits of one subject from files and to files: for a whole course, or for one visit more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.registration_pair import PairFiles, naming_files, read_pair
from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.registration.engine import RegistrationResult, RegistrationSettings
    from pipeline.registration.template import Template
    from pipeline.registration.visits import Visit
    from pipeline.types import Volume

    Register = Callable[[Volume, Volume, Volume | None], RegistrationResult]

#: Numbers of a visit's metrics that visits.tsv repeats.
_MEASURES = ("folding_fraction", "minimum_jacobian", "correlation_before", "correlation_affine",
             "correlation_after", "overlap_fraction", "inverse_residual_max_mm")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Course:
    """What was read of a subject.

    Attributes
    ----------
    common : Volume
        Image of the common space: the reference, or the template.
    images : list of Volume
        One per visit.
    mask : Volume or None
        Region of interest in the common space.
    labels : list of Volume
        One per visit, or empty.
    """

    common: "Volume"
    images: list["Volume"]
    mask: "Volume | None"
    labels: list["Volume"]


def read_course(
    images: Sequence[Path],
    reference: int,
    mask: Path | None,
    labels: Sequence[Path],
    phase_time_s: float,
    settings: "RegistrationSettings",
) -> Course:
    """Read and check all images, the region on the reference, and labels on each image's grid."""
    from pipeline.registration.checks import check_pair
    from pipeline.registration.engine import Pair
    from pipeline.registration.visits import check_reference

    check_reference(len(images), reference)
    if labels and len(labels) != len(images):
        raise SettingsError(
            f"--labels is given {len(labels)} times for {len(images)} images; repeat it for each"
        )
    found = []
    for n, path in enumerate(images):
        files = PairFiles(
            images[reference], path, mask, moving_labels=labels[n] if labels else None
        )
        one = read_pair(files, phase_time_s)
        with naming_files(files):
            check_pair(Pair(one.fixed, one.moving, one.fixed_mask), settings)
        found.append(one)
    return Course(
        found[reference].moving,
        [one.moving for one in found],
        found[reference].fixed_mask,
        [one.labels for one in found if one.labels is not None],
    )


def registering(
    engine: str, settings: "RegistrationSettings", files: Mapping[int, Path]
) -> "Register":
    """Return the registration of two images of a course; errors name the file of an image's id."""
    from pipeline.registration import engine as engines

    def register(
        fixed: "Volume", moving: "Volume", fixed_mask: "Volume | None"
    ) -> "RegistrationResult":
        names = [files.get(id(one), Path("(the template)")) for one in (fixed, moving)]
        with naming_files(PairFiles(*names)):
            return engines.register(
                fixed, moving, engine=engine, settings=settings, fixed_mask=fixed_mask
            )

    return register


def write_visit(
    folder: Path,
    visit: "Visit",
    course: Course,
    image: "Volume",
    labels: "Volume | None",
    *,
    pictures: bool,
) -> list[Path]:
    """Write what `medpipe register` would; of a sequence also the change since the last visit."""
    from cli.registration_outputs import write_registration
    from pipeline.io import write_volume

    outputs = write_registration(
        folder,
        visit.result,
        course.common,
        image,
        fixed_mask=course.mask,
        labels=labels,
        pictures=pictures,
    )
    if visit.step is None:
        return outputs
    step = folder / "step_jacobian.nii.gz"
    write_volume(step, visit.step.jacobian)
    return [*outputs, step]


def write_template(out: Path, template: "Template", labels: Sequence["Volume"]) -> list[Path]:
    """Write the template, its region and labels, and how far each round moved it."""
    import pandas as pd

    from pipeline.io import write_table, write_volume
    from pipeline.registration.fields import warp_labels
    from pipeline.registration.template import most_frequent_label

    volumes = {"template": template.image}
    if template.mask is not None:
        volumes["template_mask"] = template.mask
    if labels:
        volumes["template_labels"] = most_frequent_label([
            warp_labels(one, found.displacement)
            for one, found in zip(labels, template.maps, strict=True)
        ])  # fmt: skip
    paths = []
    for name, volume in volumes.items():
        paths.append(out / f"{name}.nii.gz")
        write_volume(paths[-1], volume)
    turns = range(1, len(template.change_mm) + 1)
    paths.append(out / "template_rounds.tsv")
    write_table(paths[-1], pd.DataFrame({"round": turns, "change_p95_mm": template.change_mm}))
    return paths


def table_row(visit: "Visit") -> dict[str, Any]:
    """Return the measures of a visit; the step's mean J is taken in the region carried along."""
    metrics = visit.result.metrics
    step = visit.step.metrics if visit.step else {}
    return {
        "mean_jacobian": metrics.get("mean_jacobian"),
        "mean_jacobian_step": step.get("mean_jacobian"),
        **{name: metrics.get(name) for name in _MEASURES},
        "warnings": "; ".join(metrics["warnings"]),
    }


def write_visits_table(out: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write visits.tsv: a row per visit, in order of time."""
    import pandas as pd

    from pipeline.io import write_table

    columns = ["session", "image", "mean_jacobian", "mean_jacobian_step", *_MEASURES, "warnings"]
    table = out / "visits.tsv"
    write_table(table, pd.DataFrame([dict(row) for row in rows], columns=columns))
    return table
