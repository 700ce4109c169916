"""Tables of categories alone, of high cardinality, made from real ones.

    python -m benchmarks.categorical_tables FOLDER OUT

FOLDER has adult.csv.gz, shelter_animals.csv.gz and ames.csv.gz. OUT gets one CSV file for each table below, and
`categories.json`, which `benchmarks.quality --categories` reads: codes look like numbers, but are categories.

No table is a new source: its rows and its target are those of a real one, and its columns are real columns, pairs
and triples of them joined into one, and numbers cut into ranges. They keep the dependence of the target on
the categories that real tables have, but say nothing about other tables of high cardinality.

- adult_crossed: 2 classes. Pairs and triples of adult's categories, with age, hours and education as they are.
- adult_coded: the same columns, each value replaced by a number, in the order in which they first appear, as a text.
- shelter_crossed: 5 classes. Names, breeds and colours, alone and joined with sex and age; the day without the hour.
- ames_crossed: 2 classes, whether the price is above its 90th percentile, so that one is rare.

The same input gives the same output, byte for byte.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

JOINED = "|"


def read(folder: Path, name: str) -> pd.DataFrame:
    """Read a table with every cell as text; an empty cell is a text too."""
    return pd.read_csv(folder / f"{name}.csv.gz", dtype=str, keep_default_na=False)


def crossed(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Return columns of joined categories: "a" is column a, "a b" joins a and b."""
    made = {}
    for column in columns:
        first, *others = column.split()
        made["_".join((first, *others))] = (
            frame[first].str.cat([frame[name] for name in others], JOINED)
            if others
            else frame[first]
        )
    return pd.DataFrame(made)


def coded(frame: pd.DataFrame) -> pd.DataFrame:
    """Replace each column's values by numbers in the order of their first rows, as texts."""
    return frame.apply(lambda column: pd.Series(pd.factorize(column)[0]).astype(str))


def adult(folder: Path) -> pd.DataFrame:
    frame = read(folder, "adult")
    columns = (
        "age", "hours_per_week", "education", "workclass occupation", "education occupation",
        "native_country occupation", "age occupation", "age education", "hours_per_week occupation",
        "marital_status relationship sex", "education occupation workclass", "native_country race sex",
        "age marital_status occupation", "age hours_per_week", "occupation workclass native_country",
    )  # fmt: skip
    return crossed(frame, columns).assign(income=frame["income"])


def adult_coded(folder: Path) -> pd.DataFrame:
    frame = adult(folder)
    return coded(frame.drop(columns="income")).assign(income=frame["income"])


def shelter(folder: Path) -> pd.DataFrame:
    frame = read(folder, "shelter_animals")
    frame["Day"], frame["Hour"] = frame["DateTime"].str[:10], frame["DateTime"].str[11:13]
    columns = (
        "Name", "Day", "Hour", "Breed", "Color", "AnimalType SexuponOutcome AgeuponOutcome",
        "Breed SexuponOutcome", "Color AnimalType", "AgeuponOutcome Hour", "Breed AgeuponOutcome",
        "Color SexuponOutcome AgeuponOutcome",
    )  # fmt: skip
    return crossed(frame, columns).assign(OutcomeType=frame["OutcomeType"])


def ames(folder: Path) -> pd.DataFrame:
    frame = read(folder, "ames")
    price = pd.to_numeric(frame["Sale_Price"])
    columns = (
        "Neighborhood", "MS_SubClass", "Year_Built", "Neighborhood MS_SubClass", "Neighborhood House_Style",
        "Neighborhood Overall_Cond", "Exterior_1st Exterior_2nd", "Year_Built Foundation",
        "BsmtFin_Type_1 Bsmt_Exposure Bsmt_Cond", "Garage_Type Garage_Finish Garage_Cars",
        "Neighborhood Year_Built", "Roof_Style Exterior_1st", "TotRms_AbvGrd Full_Bath Bedroom_AbvGr",
        "Sale_Type Sale_Condition", "Heating_QC Exter_Cond Central_Air", "Mo_Sold Year_Sold",
    )  # fmt: skip
    dear = (price > price.quantile(0.9)).map({True: "dear", False: "other"})
    return crossed(frame, columns).assign(price=dear)


TABLES = {
    "adult_crossed": adult, "adult_coded": adult_coded,
    "shelter_crossed": shelter, "ames_crossed": ames,
}  # fmt: skip


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write a compressed CSV file; no date in it, so that the same rows are the same bytes."""
    text = frame.to_csv(index=False, lineterminator="\n")
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def main() -> None:
    """Make all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the real tables are")
    parser.add_argument("out", type=Path, help="where the made tables go")
    given = parser.parse_args()
    if missing := [name for name in ("adult", "shelter_animals", "ames") if not (given.folder / f"{name}.csv.gz").is_file()]:  # fmt: skip
        raise SystemExit(f"{given.folder} has no {missing[0]}.csv.gz.")
    given.out.mkdir(parents=True, exist_ok=True)
    categories = {}
    for name, make in TABLES.items():
        frame = make(given.folder)
        write(frame, given.out / f"{name}.csv.gz")
        *columns, target = frame.columns
        categories[name] = columns
        counts = ", ".join(f"{column} {frame[column].nunique():,}" for column in columns)
        rare = frame[target].value_counts(normalize=True).min()
        print(f"{name}: {len(frame):,} rows; rarest class {100 * rare:.1f} %; different values: {counts}")  # fmt: skip
    text = json.dumps(categories, indent=1)
    (given.out / "categories.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
