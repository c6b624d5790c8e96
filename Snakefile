# From scans and a table of patients to results/<study>_*.tsv. Settings: config.yaml.
from pathlib import Path

ROOT = Path(workflow.basedir)

# Later wins: the studies' own defaults, config.yaml of the working directory, --configfile.
for path in sorted(ROOT.glob("workflow/studies/*.yaml")):

    configfile: str(path)


configfile: "config.yaml" if Path("config.yaml").exists() else str(ROOT / "config.yaml")


include: "workflow/rules/common.smk"
include: "workflow/rules/screen.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/segmentation.smk"
include: "workflow/rules/registration.smk"
include: "workflow/rules/radiomics.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/survival.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/studies/nact.smk"
include: "workflow/rules/studies/glioma.smk"
include: "workflow/rules/studies/breast.smk"
include: "workflow/rules/studies/nsclc.smk"
include: "workflow/rules/studies/crc.smk"
include: "workflow/rules/studies/ispy2.smk"
include: "workflow/rules/studies/psnet.smk"
include: "workflow/rules/studies/lungtumor.smk"


rule all:
    default_target: True
    input:
        "results/nact_auc.tsv",
