"""Write the golden bundle of the format's present version, and what it must predict.

    python -m tests.golden.regenerate

Never write a version again that has been released: bundles of it are out in the world, and the
one kept here stands for them. A new format version gets files of its own.
"""

import json
from pathlib import Path

import sightline as sl
from sightline import archive
from tests.pipeline.fits import train_model
from tests.predict.tables import columns

HERE = Path(__file__).parent


def rows():
    """Rows of every kind, and with what is missing, unseen and out of range."""
    data = {name: values[:8] for name, values in columns().items() if name != "y"}
    data["size"][1], data["city"][2], data["day"][3], data["note"][4] = 1e6, "new", None, None
    return data


def main():
    bundle = HERE / f"version_{archive.version_of('model')}.sightline"
    if bundle.exists():
        raise SystemExit(f"{bundle} is there already; delete it if it was never released.")
    model, _ = train_model(
        sl.read(columns()), "y", quality="fast", second_network=True, forest=True
    )
    model.save(bundle)
    expected = {
        "classes": list(model.classes),
        "rows": rows(),
        "probabilities": sl.Model.load(bundle).predict_proba(rows()).tolist(),
    }
    text = json.dumps(expected, indent=1) + "\n"
    bundle.with_suffix(".json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
