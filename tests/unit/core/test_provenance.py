"""Every result knows its origin."""

import hashlib
import json

from pipeline.bench import costs, summary
from pipeline.provenance import sha256, write_sidecars


def test_a_sidecar_names_inputs_settings_versions_seed_and_cost(tmp_path):
    source, result = tmp_path / "in.bin", tmp_path / "out.tsv"
    source.write_bytes(b"in")
    result.write_bytes(b"out")
    write_sidecars(
        [result], block="model", inputs=[source], settings={"spacing_mm": 2.0}, seed=7,
        measured={"voxels": 3},
    )  # fmt: skip
    record = json.loads((tmp_path / "out.tsv.prov.json").read_text("utf-8"))
    assert record["inputs"] == [{"path": "in.bin", "sha256": hashlib.sha256(b"in").hexdigest()}]
    assert record["output_sha256"] == hashlib.sha256(b"out").hexdigest()
    assert record["settings"] == {"spacing_mm": 2.0}
    assert record["seed"] == 7
    assert record["versions"]["SimpleITK"].startswith("2.5")
    assert record["peak_memory_mib"] > 10


def test_the_digest_of_a_folder_knows_names_and_contents(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(b"a")
    first = sha256(folder)
    (folder / "1.dcm").rename(folder / "2.dcm")
    assert sha256(folder) != first


def test_costs_are_counted_once_a_job():
    record = {"block": "register", "seconds": 4.0, "cpu_seconds": 3.0, "peak_memory_mib": 200.0}
    later = {**record, "seconds": 4.5}
    table = costs(
        [
            ("sub-1/ses-b/register/jacobian.nii.gz.prov.json", record),
            ("sub-1/ses-b/register/warped.nii.gz.prov.json", later),
            ("sub-2/ses-b/register/jacobian.nii.gz.prov.json", record),
        ]
    )
    assert list(table["subject"]) == ["1", "2"]
    assert list(table["wall_s"]) == [4.5, 4.0]
    assert summary(table).iloc[0]["jobs"] == 2
