"""`medpipe models`: which networks are installed, what they are, and how another is added."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.common import set_up

if TYPE_CHECKING:
    from pipeline.model_folder import Entry

app = typer.Typer(
    invoke_without_command=True,
    help="List the installed segmentation models; show or import one.",
)


@app.callback()
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the models that `medpipe segment --model NAME` takes.

    Looked for in the package, then in the folders of MEDPIPE_MODELS
    (default ~/.local/share/medpipe/models).

    Example: medpipe models
    """
    if context.invoked_subcommand is not None:
        return
    set_up()
    from pipeline.model_folder import models_in, search_path, user_folders

    entries = models_in(search_path())
    if as_json:
        import json

        typer.echo(json.dumps([_described(entry) for entry in entries], indent=2))
    elif not entries:
        typer.echo(f"no model is installed; looked in {', '.join(map(str, user_folders()))}")
    else:
        typer.echo(_table([_row(entry) for entry in entries]))


@app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(help="Archive: zip or tar.gz with one model.")],
) -> None:
    """Install a model. An archive that could write elsewhere is refused whole.

    A MONAI bundle, nnU-Net results or TotalSegmentator weights are not imported: they run from
    their folder, `medpipe segment IMAGE --model FOLDER`.

    Example: medpipe models import hippocampus.zip
    """
    set_up()
    from pipeline.errors import SettingsError
    from pipeline.model_adapters import kind_of
    from pipeline.model_folder import find_model, import_archive, user_folders

    if kind_of(file) is not None:
        raise SettingsError(
            f"{file}: a model of another program is not imported; it runs from its folder: "
            f"`medpipe segment IMAGE --model {file}`"
        )
    if file.is_dir():
        folder = find_model(str(file))
        raise SettingsError(
            f"{file}: a folder, not an archive; it runs as it is, `medpipe segment IMAGE --model "
            f"{folder}`, or pack it first: `zip -r {folder.resolve().name}.zip {folder}`"
        )
    typer.echo(str(import_archive(file, user_folders()[0])))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of an installed model, or its folder.")],
) -> None:
    """Print all that a model says of itself.

    Example: medpipe models show hippocampus
    """
    set_up()
    import json

    from pipeline.model_folder import find_model, read_entry

    described = _described(read_entry(find_model(name)))
    typer.echo(json.dumps(described, indent=2, ensure_ascii=False))


def _described(entry: "Entry") -> dict[str, Any]:
    return {
        "name": entry.name,
        "folder": str(entry.folder),
        "parameters": entry.parameters,
        "sha256": entry.sha256,
        "plan": {**entry.plan.to_json(), "labels": dict(entry.plan.labels)},
        "card": dict(entry.card),
    }


def _row(entry: "Entry") -> dict[str, str]:
    return {
        "name": entry.name,
        "labels": ",".join(entry.plan.labels),
        "modality": str(entry.card.get("modality", "not stated")),
        "spacing_mm": "x".join(f"{mm:g}" for mm in entry.plan.spacing_mm),
        "parameters": f"{entry.parameters:,}",
        "licence": str(entry.card.get("licence", "not stated")),
        "metrics": ", ".join(_flat(entry.card.get("metrics", {}))) or "none",
    }


def _flat(metrics: Any, before: str = "") -> list[str]:
    """Return nested numbers as "a b 0.91" texts, in the card's order; words stay in the card."""
    if isinstance(metrics, dict):
        return [t for key, item in metrics.items() for t in _flat(item, f"{before}{key} ")]
    if isinstance(metrics, float):
        return [f"{before}{metrics:.3g}"]
    return [f"{before}{metrics}"] if isinstance(metrics, int | list) else []


def _table(rows: list[dict[str, str]]) -> str:
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    lines = [{name: name for name in widths}, *rows]
    return "\n".join(
        "  ".join(line[name].ljust(width) for name, width in widths.items()).rstrip()
        for line in lines
    )
