"""What newcomers type: other tools' names of options and commands lead to ours."""

import pytest

from tests.cli.test_main import refused


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ("train penguins.csv", ["No such command 'train'. Did you mean 'fit'?"]),
        ("score runs/a", ["No such command 'score'. Did you mean 'evaluate' or 'predict'?"]),
        ("eval runs/a", ["Did you mean 'evaluate'?"]),
        ("infer runs/a penguins.csv", ["Did you mean 'predict'?"]),
        ("apply runs/a penguins.csv", ["Did you mean 'predict'?"]),
        ("test runs/a", ["Did you mean 'evaluate'?"]),
        ("describe penguins.csv", ["Did you mean 'inspect'?"]),
        ("show runs/a", ["Did you mean 'inspect' or 'report'?"]),
        ("plot runs/a", ["Did you mean 'report'?"]),
        ("feature_importance runs/a", ["Did you mean 'importance'?"]),
        ("FIT penguins.csv", ["Did you mean 'fit'?"]),
        ("help", ["No such command 'help'. Type sightline --help."]),
        ("version", ["Type sightline --version."]),
        ("fit penguins.csv species", ["Unexpected argument: species. Did you mean --target species?"]),
        ("fit penguins.csv species 3", ["Unexpected arguments: species 3."]),
        ("evaluate runs/a penguins.csv more.csv", ["Unexpected argument: more.csv."]),
        ("fit penguins.csv --label species", ["No such option: --label. Did you mean --target?"]),
        ("fit penguins.csv --y species", ["Did you mean --target?"]),
        ("fit penguins.csv -t species", ["No such option: -t. Did you mean --target?"]),
        ("fit penguins.csv --target-column species", ["Did you mean --target?"]),
        ("fit penguins.csv --target species --lr 0.1", ["Did you mean --learning-rate?"]),
        ("fit penguins.csv --target species --lr=0.1", ["Did you mean --learning-rate?"]),
        ("fit penguins.csv --target species --cv 5", ["No such option: --cv. There is no option for the number of folds: "]),
        ("fit penguins.csv --target species --kfold 5", ["There is no option for the number of folds: "]),
        ("fit penguins.csv --target species --output out", ["No such option: --output. Did you mean --run?"]),
        ("fit penguins.csv --target species -o out", ["Did you mean --run?"]),
        ("fit penguins.csv --target species --metric f1", ["Did you mean --eval-metric?"]),
        ("fit penguins.csv --target species --bs 32", ["Did you mean --batch-size?"]),
        ("fit penguins.csv --target species --wd 0", ["Did you mean --weight-decay?"]),
        ("fit penguins.csv --target species --n-epochs 3", ["Did you mean --epochs?"]),
        ("fit penguins.csv --target species --max-epochs 3", ["Did you mean --epochs?"]),
        ("fit penguins.csv --target species --random-state 3", ["Did you mean --seed?"]),
        ("fit penguins.csv --target species --test-size 0.2", ["Did you mean --test?"]),
        ("fit penguins.csv --target species --gpu", ["Did you mean --device cuda?"]),
        ("fit penguins.csv --target species --sep ;", ["The separator of a text file is recognised"]),
        ("fit penguins.csv --target species --overwrite", ["A run folder is never overwritten"]),
        ("fit penguins.csv --target species --dropuot 0.2", ["No such option: --dropuot. Did you mean --dropout?"]),
        ("fit penguins.csv --target species --no-tree", ["Did you mean --no-trees?"]),
        ("fit penguins.csv --target species --qqqqqqqq", ["No such option: --qqqqqqqq."]),
        ("fit --data penguins.csv --target species", ["SOURCE is written without an option: sightline fit SOURCE"]),
        ("tune penguins.csv --target species --n-trials 3", ["Did you mean --trials?"]),
        ("tune penguins.csv --target species --output out", ["Did you mean --folder"]),
        ("predict --model runs/a --input penguins.csv", ["MODEL is written without an option: sightline predict MODEL SOURCE"]),
        ("predict runs/a penguins.csv --out p.csv", ["Did you mean --output?"]),
        ("predict runs/a penguins.csv --id year", ["Did you mean --keep?"]),
        ("predict runs/a penguins.csv --target species", ["No such option: --target. It is an option of fit, tune"]),
        ("predict runs/a penguins.csv --proba", ["has the probability of each class already"]),
        ("evaluate runs/a --metric accuracy", ["Did you mean --require?"]),
        ("explain runs/a penguins.csv --index 3", ["Did you mean --row?"]),
        ("explain runs/a penguins.csv --alpha 0.1", ["It is an option of predict, export."]),
        ("resume runs/a --epochs 30", ["It is an option of fit, tune, edit."]),
        ("edit runs/a --lr 0.1", ["Did you mean --learning-rate?"]),
        ("replay runs/a --output runs/b", ["Did you mean --to?"]),
        ("live runs/a --open", ["Did you mean --browser?"]),
        ("report runs/a --plots x", ["Did you mean --png?"]),
        ("serve --model runs/a", ["is written without an option: sightline serve [MODEL]..."]),
        ("inspect --file penguins.csv", ["SOURCE is written without an option: sightline inspect SOURCE"]),
    ],
)  # fmt: skip
def test_the_name_of_another_tool_leads_to_ours(sightline, fitted, monkeypatch, typed, parts):
    monkeypatch.chdir(fitted)
    before = sorted(fitted.rglob("*"))
    refused(sightline(*typed.split()), *parts)
    assert sorted(fitted.rglob("*")) == before
