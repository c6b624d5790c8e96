"""Put a trained model into the package, with what its card must say besides.

python scripts/embed_model.py trained/final/model hippocampus

What is said stands in scripts/embedded/NAME/card.json: description, limits, modality, and the
metrics with the command that measured them. The tables beside it are the record of that command.
The weights are those of the folder, byte for byte.
"""

import argparse
import shutil
from pathlib import Path

from pipeline.io import read_json
from pipeline.model_folder import load_model, read_entry, save_model

_ROOT = Path(__file__).parents[1]
_MODELS = _ROOT / "src/pipeline/models"


def main() -> None:
    """Copy the model and merge its card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trained", type=Path, help="Folder with model.json.")
    parser.add_argument("name", help="Of the model in the package.")
    asked = parser.parse_args()
    entry, model = read_entry(asked.trained), load_model(asked.trained)
    card = {**entry.card, **read_json(_ROOT / "scripts/embedded" / asked.name / "card.json")}
    target = _MODELS / asked.name
    shutil.rmtree(target, ignore_errors=True)
    save_model(target, entry.plan, model.network.state_dict(), card)
    print(f"{entry.parameters:,} weights: {target.relative_to(_ROOT)}")


if __name__ == "__main__":
    main()
