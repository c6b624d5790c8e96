"""Settings and sheets, read once; the few functions that rules share."""

import os
import shlex
from functools import lru_cache

from snakemake.exceptions import WorkflowError

from pipeline import runlock
from pipeline.config import parse_config
from pipeline.errors import MedpipeError
from pipeline.sheets import read_cohort
from pipeline.versions import BLOCK_VERSIONS


wildcard_constraints:
    study="[a-z0-9]+",
    subject="[A-Za-z0-9][A-Za-z0-9_-]*",
    session="[A-Za-z0-9][A-Za-z0-9_-]*",
    contrast="[A-Za-z0-9][A-Za-z0-9_-]*",
    model="[a-z0-9_]+",
    part="fold[0-9]+|test",
    scheme="folds|test",
    network="[a-z0-9]+",
    run="final|fold-0",


def checked(function, *arguments, **options):
    """Call a function of the pipeline; tell its errors as Snakemake tells its own."""
    try:
        return function(*arguments, **options)
    except MedpipeError as error:
        raise WorkflowError(str(error)) from None


CONFIG = checked(parse_config, config)


@lru_cache
def cohort(study):
    """Both sheets of a study, checked; every problem is told at once."""
    settings = CONFIG.studies[study]
    return checked(
        read_cohort,
        settings.images,
        settings.subjects,
        sessions=settings.sessions,
        contrast=settings.contrast,
        outcome=settings.outcome,
        survival=settings.survival_columns,
    )


# Sheets that exist are checked before the graph is built; one that does not is told when asked for.
for _study, _settings in CONFIG.studies.items():
    if (_settings.images or _settings.subjects).exists():
        cohort(_study)


def rows(wildcards):
    """The images of one session, in the order of acquisition."""
    return cohort(wildcards.study).rows(
        wildcards.subject, wildcards.session, wildcards.contrast
    )


def included(study):
    """The ids that passed the screen."""
    table = checkpoints.screen.get(study=study).output.included
    with open(table, encoding="utf-8") as stream:
        return [line.split("\t")[0] for line in stream.read().splitlines()[1:]]


def options(block):
    """A function of the wildcards: the settings of a block as flags of its verb."""
    return lambda wildcards: getattr(CONFIG.studies[wildcards.study], block).as_flags()


def screened_files(study):
    """Every image and mask of the study's contrast: a changed file is screened anew."""
    wanted = [
        r for r in cohort(study).images if r.contrast == CONFIG.studies[study].contrast
    ]
    return [
        str(path)
        for r in wanted
        for path in (r.image, r.mask, r.within)
        if path is not None
    ]


def time_flag(wildcards):
    """The phases' seconds after injection, when the sheet has them."""
    times = [row.time_s for row in rows(wildcards)]
    return "" if None in times else "--time-s=" + ",".join(f"{t:g}" for t in times)


def breast_rows(wildcards):
    """The series of one session of the study `breast`."""
    return cohort("breast").rows(wildcards.subject, wildcards.session, "dce")


def external_mask(wildcards):
    """The mask that the sheet gives for this session, if any."""
    return [str(row.mask) for row in rows(wildcards) if row.mask][:1]


def region(wildcards):
    """The organ mask in which the sheet says to look, if any."""
    return [str(row.within) for row in rows(wildcards) if row.within][:1]


def seed_flag(wildcards):
    """The sheet's point inside the lesion, if any."""
    seed = rows(wildcards)[0].seed_mm
    return "" if seed is None else "--seed-mm=" + ",".join(f"{v:g}" for v in seed)


def path_flag(name, path):
    """`--name=path`, quoted for the shell; nothing when there is no path."""
    return f"{name}={shlex.quote(str(path))}" if path else ""


def first_session(wildcards):
    """The session that the later ones are compared with."""
    return CONFIG.studies[wildcards.study].sessions[0]


def first_and_last(study):
    """The two sessions that a table or page of change shows, with a comma between."""
    sessions = CONFIG.studies[study].sessions
    return f"{sessions[0]},{sessions[-1]}"


def session_before(wildcards):
    """The session that this one is registered to: the first, or in a sequence the one before."""
    settings = CONFIG.studies[wildcards.study]
    if settings.register_.scheme == "reference":
        return settings.sessions[0]
    return settings.sessions[settings.sessions.index(wildcards.session) - 1]


def known_registration(wildcards):
    """What is known of the session before, when that is not the first: its own registration."""
    before = session_before(wildcards)
    if before == first_session(wildcards):
        return []
    folder = f"results/{wildcards.study}/sub-{wildcards.subject}/ses-{before}/register"
    names = ("displacement.nii.gz", "inverse.nii.gz", "affine.tfm", "jacobian.nii.gz")
    return [f"{folder}/{name}" for name in (*names, "metrics.json")]


def register_command(wildcards, input):
    """The verb and its images: one pair, or one visit more by way of the one before."""
    fixed, moving = shlex.quote(input.fixed), shlex.quote(input.moving)
    if not input.known:
        return f"register {fixed} {moving}"
    known = shlex.quote(os.path.dirname(input.known[0]))
    return f"register-next {fixed} {shlex.quote(input.before)} {moving} --known {known}"


def block_image(wildcards, session, block):
    """The image of the study's contrast that a block made for one session."""
    contrast = CONFIG.studies[wildcards.study].contrast
    folder = f"results/{wildcards.study}/sub-{wildcards.subject}/ses-{session}"
    return f"{folder}/{block}/{contrast}.nii.gz"


def feature_tables(study):
    """The feature tables of every included subject: one, or three of a study of two visits."""
    settings = CONFIG.studies[study]
    first, last = settings.sessions[0], settings.sessions[-1]
    names = [(first, "dce"), (last, "dce"), (last, "jacobian")]
    if first == last:
        names = [(first, settings.contrast)]
    return [
        f"results/{study}/sub-{subject}/ses-{session}/radiomics/{name}.tsv"
        for subject in included(study)
        for session, name in names
    ]


def cohort_flags(study):
    """The one feature set of a study of one visit; the verb's defaults are those of two."""
    settings = CONFIG.studies[study]
    if len(settings.sessions) > 1:
        return ""
    place = f"{settings.sessions[0]}/{settings.contrast}"
    return f"--set baseline={place} --classes {settings.radiomics.cohort_classes}"


def measured_image(wildcards):
    """What features are computed on: the image of the sheet, or what `preprocess` made of it."""
    if CONFIG.studies[wildcards.study].radiomics.masks == "drawn":
        return [str(row.image) for row in rows(wildcards)]
    return block_image(wildcards, wildcards.session, "preprocess")


def measured_mask(wildcards):
    """Where features are computed: in the mask of the sheet, or in the one of `segment`."""
    if CONFIG.studies[wildcards.study].radiomics.masks == "drawn":
        return external_mask(wildcards)
    return block_image(wildcards, wildcards.session, "segment")


def registered(study):
    """The Jacobian map and both masks of every included subject."""
    settings = CONFIG.studies[study]
    first, last = settings.sessions[0], settings.sessions[-1]
    return [
        f"results/{study}/sub-{subject}/ses-{session}/{name}.nii.gz"
        for subject in included(study)
        for session, name in (
            (last, "register/jacobian"),
            (first, f"segment/{settings.contrast}"),
            (last, f"segment/{settings.contrast}"),
        )
    ]


def subject_results(study, subject):
    """What the page of a subject shows."""
    sessions = CONFIG.studies[study].sessions
    first, last = sessions[0], sessions[-1]
    folder = f"results/{study}/sub-{subject}"
    return [
        *(
            f"{folder}/ses-{session}/{name}.nii.gz"
            for session in (first, last)
            for name in ("preprocess/dce", "segment/dce", "dce/subtraction")
        ),
        f"{folder}/ses-{last}/register/jacobian.nii.gz",
        f"{folder}/ses-{first}/radiomics/dce.tsv",
        f"{folder}/ses-{last}/radiomics/dce.tsv",
        f"{folder}/ses-{last}/radiomics/jacobian.tsv",
    ]


def model_flags(model):
    """`xgboost_fusion_subtype` is the set `fusion` with the subtype, by boosted trees."""
    classifier = "xgboost" if model.startswith("xgboost_") else "svm"
    features = model.removeprefix("xgboost_").removesuffix("_subtype")
    subtype = " --with-subtype" if model.endswith("_subtype") else ""
    return f"--classifier {classifier} --feature-set {features}{subtype}"


def arm_features(study, arm):
    """The table of a survival arm: our own features, or the table that the study names."""
    settings = CONFIG.studies[study]
    if settings.features and arm == settings.survival.features:
        return settings.features
    return f"results/{study}/cohort/features.tsv"


def networks(study):
    """The settings of a study's networks."""
    return CONFIG.studies[study].networks


def network_models(wildcards):
    """The models whose mean makes a row of the comparison."""
    settings = networks(wildcards.study)
    folder = f"results/{wildcards.study}/networks/{wildcards.part}"
    return [
        f"{folder}/{member}/{settings.run_name}/model/model.json"
        for member in settings.members(wildcards.network)
    ]


def model_folders(models):
    """`--model FOLDER` for each model, quoted for the shell."""
    return " ".join(f"--model {shlex.quote(os.path.dirname(path))}" for path in models)


def held_out_pairs(wildcards):
    """The predictions of every part of a scheme."""
    return [
        f"results/{wildcards.study}/predictions/{part}/{wildcards.network}/pairs.tsv"
        for part in networks(wildcards.study).parts(wildcards.scheme)
    ]


def evaluations(study):
    """The summaries that the table and the page of a study are made from."""
    settings = networks(study)
    return [
        f"results/{study}/evaluation/{scheme}/{row}/summary.tsv"
        for scheme in settings.schemes
        for row in settings.rows
    ]


HELD_LOCKS = []


onstart:
    # Kept in a list of the module: the lock lives as long as the open file does.
    HELD_LOCKS.append(checked(runlock.claim, ".medpipe.lock"))
