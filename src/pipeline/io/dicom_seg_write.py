"""DICOM segmentations out: labels on the slices of the series that they were found in.

Written through highdicom. Of the source only what places the masks is copied: the unique ids of
study, series, slices and frame of reference, and the geometry. Name, number, birth date, sex and
dates of the patient stay empty, as in every output of this program; a viewer joins by the ids.
"""

import datetime
import hashlib
import io
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import EmptyRegionError, WriteError
from pipeline.grid_difference import check_same_grid
from pipeline.io.atomic import write_bytes
from pipeline.io.dicom_headers import image_slices, parsing
from pipeline.io.dicom_seg_source import mend_frame_numbers, source_datasets
from pipeline.io.dicom_stack import sort_phases
from pipeline.types import Volume

#: Optional ones; the sidecar of a result says when it was made.
_TIME_STAMPS = ("InstanceCreationDate", "InstanceCreationTime", "ContributionDateTime")

#: The standard wants a date of the content; a real one would change the bytes of every run.
_NO_DATE = datetime.date(1970, 1, 1)


def write_segmentation(
    path: Path,
    labels: Volume,
    source: Path,
    names: Mapping[str, int],
    *,
    algorithm: str,
    phase: int | None = None,
) -> None:
    """Write labels as a binary DICOM SEG, a segment for each label; same inputs, same bytes.

    Parameters
    ----------
    path : Path
        File; its name ends in .dcm.
    labels : Volume
        Label image on the grid that `pipeline.io.read_volume` gives of `source`.
    source : Path
        Folder of the series: a file per slice, or one enhanced (multi-frame) file; or the file.
    names : mapping of str to int
        Label -> value in `labels`. Segments are numbered from 1 in this order.
    algorithm : str
        What found them, e.g. the names of the models.
    phase : int, optional
        Image of a series of several, from 0, in the order of `pipeline.io.read_series`.

    Raises
    ------
    WriteError
        The ending is another; the source holds several phases and none is named, lacks an id,
        or is spread over several multi-frame files.
    GeometryError
        `labels` does not lie on the slices of the source.
    EmptyRegionError
        No voxel carries a label: an empty DICOM SEG cannot be written.
    """
    if path.suffix.lower() != ".dcm":
        raise WriteError(f"{path}: write a DICOM SEG to a name that ends in .dcm")
    phases = sort_phases(source, image_slices(source))
    if len(phases.stacks) > 1 and phase is None:
        raise WriteError(f"{source}: holds {len(phases.stacks)} phases; pick one (`--phase`)")
    stack = phases.stacks[phase or 0]
    check_same_grid(phases.grid, labels.grid, ("the series", "the labels"))
    numbers = np.zeros(labels.data.shape, dtype=np.uint8)
    for number, value in enumerate(names.values(), start=1):
        numbers[labels.data == value] = number
    if not numbers.any():
        raise EmptyRegionError(f"{path}: no voxel of {', '.join(names)}; nothing to write")
    frames = np.ascontiguousarray(numbers.transpose(2, 1, 0))
    images = source_datasets(stack, phases.grid.spacing_mm[2])
    content = io.BytesIO()
    with parsing(source, "cannot be referred to by a DICOM SEG"):
        made = _segmentation(frames, images, list(names), algorithm)
        mend_frame_numbers(made, stack)
        made.save_as(content)
    write_bytes(path, content.getvalue())  # apart: a full disk is no fault of the source


def _segmentation(
    frames: npt.NDArray[np.uint8], images: list[Any], names: list[str], algorithm: str
) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    version = metadata.version("medpipe")
    content = hashlib.sha256(frames.tobytes()).hexdigest()
    seed = [images[0].SeriesInstanceUID, content, algorithm, *names]
    identification = hd.AlgorithmIdentificationSequence(
        name=algorithm[:64], version=version, family=codes.DCM.ArtificialIntelligence
    )
    described = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=hd.sr.CodedConcept(f"L{number}", "99MEDPIPE", name[:64]),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=identification,
        )
        for number, name in enumerate(names, start=1)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = hd.seg.Segmentation(
            source_images=images,
            pixel_array=frames,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=described,
            series_instance_uid=generate_uid(entropy_srcs=["series", *seed]),
            series_number=1,
            sop_instance_uid=generate_uid(entropy_srcs=["instance", *seed]),
            instance_number=1,
            manufacturer="medpipe",
            manufacturer_model_name="medpipe segment",
            software_versions=version,
            device_serial_number="0",
            content_date=_NO_DATE,
            content_time=datetime.time(0),
        )
    dimensions = generate_uid(entropy_srcs=["dimensions", *seed])
    made.walk(lambda dataset, element: _settle(dataset, element, dimensions))
    return made


def _settle(dataset: Any, element: Any, dimensions: str) -> None:
    """Take out what would differ from run to run: time stamps and a random id."""
    if element.keyword == "DimensionOrganizationUID":
        element.value = dimensions
    elif element.keyword in _TIME_STAMPS:
        del dataset[element.tag]
