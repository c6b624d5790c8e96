"""The typer app: registers the verbs, sets the exit code. Heavy imports live in the verbs."""

import importlib
import os
import sys

import typer

from pipeline.errors import MedpipeError

# OpenMP threads that wait for work sleep: spinning, they take the core from the next job, and a
# registration on a busy machine took five times its CPU time. Read when torch is first loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

#: Exit codes, also printed by `medpipe info --json`.
EXIT_OK = 0
EXIT_BUG = 1
EXIT_USER = 2

#: verb -> module that holds a function of the same name (or a typer app called `app`).
VERBS = {
    "doctor": "cli.doctor",
    "info": "cli.doctor",
    "config": "cli.config",
    "demo": "cli.demo",
    "run": "cli.run",
    "screen": "cli.screen",
    "preprocess": "cli.preprocess",
    "dce": "cli.dce",
    "segment": "cli.segment",
    "train": "cli.train",
    "models": "cli.models",
    "evaluate": "cli.evaluate",
    "networks": "cli.networks",
    "register": "cli.register",
    "transform": "cli.transform",
    "jacobian": "cli.jacobian",
    "register-pairs": "cli.register_pairs",
    "register-visits": "cli.register_visits",
    "register-next": "cli.register_next",
    "radiomics": "cli.radiomics",
    "radiomics-ibsi": "cli.radiomics_ibsi",
    "radiomics-cohort": "cli.radiomics_cohort",
    "radiomics-maps": "cli.radiomics_maps",
    "filter": "cli.filter",
    "stability": "cli.stability",
    "delta": "cli.delta",
    "rings": "cli.rings",
    "features-report": "cli.features_report",
    "cohort": "cli.cohort",
    "model": "cli.model",
    "survival": "cli.survival",
    "binary": "cli.binary",
    "nomogram": "cli.nomogram",
    "harmonise": "cli.harmonise",
    "table-one": "cli.table_one",
    "published": "cli.published",
    "report": "cli.report",
    "change": "cli.change",
    "agreement": "cli.agreement",
    "sheets": "cli.sheets",
    "show": "cli.show",
    "bench": "cli.bench",
}

app = typer.Typer(
    name="medpipe",
    help="From folders of medical scans to cohort-level results a reviewer can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _register() -> None:
    for verb, module_name in VERBS.items():
        module = importlib.import_module(module_name)
        group = getattr(module, "app", None)
        if group is not None:
            app.add_typer(group, name=verb)
        else:
            # `run` hands unknown options on to Snakemake.
            extra = {"allow_extra_args": True, "ignore_unknown_options": True}
            app.command(verb, context_settings=extra if verb == "run" else None)(
                getattr(module, verb.replace("-", "_"))
            )


_register()


def main() -> None:
    """Run the app; a MedpipeError becomes a message on stderr and exit code 2."""
    try:
        app()
    except MedpipeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER)


if __name__ == "__main__":
    main()
