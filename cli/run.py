"""`medpipe run`: a study by its name, through Snakemake."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.common import find_workflow
from pipeline.errors import SettingsError


def run(
    context: typer.Context,
    study: Annotated[str, typer.Argument(help="Name of a study, as in config.yaml.")],
    cores: Annotated[str, typer.Option(help="Cores to use at the same time.")] = "all",
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what is due.")] = False,
) -> None:
    """Run a study; what is finished stays, a killed run goes on where it stood.

    Further options go to Snakemake, for example `--configfile mine.yaml` or `--profile slurm`.

    Example: medpipe run nact --cores 8
    """
    import yaml

    root = find_workflow()
    known = sorted(path.stem for path in (root / "workflow/studies").glob("*.yaml"))
    if study not in known:
        raise SettingsError(f"no study {study!r}; there are {', '.join(known)}")
    defaults = yaml.safe_load((root / f"workflow/studies/{study}.yaml").read_text("utf-8"))
    target = defaults["studies"][study]["target"]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile")]
    command += ["--cores", cores, *(["--dry-run"] if dry_run else []), *context.args]
    if root != Path.cwd():
        command += ["--workflow-profile", str(root / "profiles/default")]
    # The verbs are looked up on PATH by the rules' shells.
    here = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", "")])
    os.execv(sys.executable, [*command, "--", target])
