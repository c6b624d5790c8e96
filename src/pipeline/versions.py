"""Versions of the blocks. Raise one when a block's numbers change: its rules then rerun."""

BLOCK_VERSIONS = {
    "demo": 1,
    "evaluate": 1,
    "screen": 2,
    "preprocess": 1,
    "dce": 1,
    "segment": 1,
    "register": 4,
    "radiomics": 3,
    "cohort": 3,
    "model": 1,
    "survival": 1,
    "report": 3,
}
