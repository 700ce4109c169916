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


def table():
    """Columns of every kind, and a category of many values."""
    made = columns()
    return {"code": [f"k{i % 40}" for i in range(len(made["y"]))], **made}


def rows():
    """Rows of every kind, and with what is missing, unseen and out of range."""
    data = {name: values[:8] for name, values in table().items() if name != "y"}
    data["size"][1], data["city"][2], data["day"][3], data["note"][4] = 1e6, "new", None, None
    data["code"][5] = "new"
    return data


def main():
    bundle = HERE / f"version_{archive.version_of('model')}.sightline"
    if bundle.exists():
        raise SystemExit(f"{bundle} is there already; delete it if it was never released.")
    model, _ = train_model(
        sl.read(table(), kinds={"code": "categorical"}), "y", quality="fast", second_network=True,
        symmetric_trees=True, forest=True, kernel=True, neighbors=True,
    )  # fmt: skip
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
