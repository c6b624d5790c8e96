"""`medpipe config`: the schema of the settings, and the settings of a run as resolved."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Settings: their schema, and a study's resolved values.")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of config.yaml, for editors.

    Example: medpipe config schema > config.schema.json
    """
    from pipeline.config import Config

    typer.echo(json.dumps(Config.model_json_schema(), indent=2))


@app.command("resolve")
def resolve(
    study: Annotated[str, typer.Option(help="Name of the study.")],
    settings: Annotated[str, typer.Option(help="The study's resolved settings, as JSON.")],
    out: Annotated[Path, typer.Option(help="settings.json of the study.")],
) -> None:
    """Write a study's settings, the block versions, the package versions and the seed.

    Example: medpipe config resolve --study nact --settings '{...}' --out settings.json
    """
    from pipeline.config import parse_config
    from pipeline.io import write_json
    from pipeline.provenance import package_versions
    from pipeline.versions import BLOCK_VERSIONS

    checked = parse_config({"studies": {study: json.loads(settings)}}).studies[study]
    resolved = checked.model_dump(mode="json", by_alias=True)
    write_json(
        out,
        {
            "study": study,
            "seed": checked.seed,
            "settings": resolved,
            "block_versions": BLOCK_VERSIONS,
            "versions": package_versions(),
        },
    )
    typer.echo(out)
