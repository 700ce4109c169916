"""The model card: made of a run's records, kept in the model's file."""

import pytest
import yaml

import sightline as sl
from sightline.views.card import model_card


def front(card):
    _, text, _ = card.split("---\n", 2)
    return yaml.safe_load(text)


def test_the_card_of_a_classification(fitted):
    model = sl.Model.load(fitted / "runs" / "a")
    card = model.card
    fields = front(card)
    assert fields["library_name"] == "sightline"
    assert fields["pipeline_tag"] == "tabular-classification"
    (result,) = fields["model-index"][0]["results"]
    assert result["dataset"]["name"] == "penguins.csv"
    assert {one["type"] for one in result["metrics"]} == {"accuracy", "log_loss", "roc_auc"}
    for part in (
        "`Adelie`, `Chinstrap`, `Gentoo`",
        "| island | feature | categorical |",
        "| log loss |",
        "- Network: ",
    ):
        assert part in card
    assert "nan" not in card.lower()


@pytest.mark.parametrize(
    "options", [{}, {"report": False, "baselines": False}, {"calibrate": False}]
)
def test_the_card_of_a_regression_has_what_was_measured(penguins, tmp_path, options):
    run = sl.fit(
        penguins, "body_mass_g", network="MLP", epochs=2, run=tmp_path / "r", quiet=True, **options
    )
    card = sl.Model.load(tmp_path / "r").card
    assert card == model_card(run.records) == run.model.card
    assert front(card)["pipeline_tag"] == "tabular-regression"
    assert ("ridge regression" in card) == options.get("baselines", True)


def test_texts_of_the_data_are_shown_and_nothing_else(tmp_path):
    odd = "a|b*c_d<script>`x`\n# no"
    data = {odd: [i / 4 for i in range(40)], "y: z": ['<b>"', "two: 2"] * 20}
    sl.fit(data, "y: z", network="MLP", epochs=1, run=tmp_path / "r", report=False, quiet=True)
    card = sl.Model.load(tmp_path / "r").card
    assert "<script>" not in card
    assert "\n# no" not in card
    assert "| a\\|b\\*c\\_d\\<script\\>" in card
    assert front(card)["model-index"][0]["name"] == "y: z"


def test_the_command_prints_and_writes_it(sightline, fitted, tmp_path):
    said = sightline("card", fitted / "runs" / "a")
    assert said.out.startswith("---\nlibrary_name: sightline\n")
    assert sightline("card", fitted / "runs" / "a", "-o", tmp_path / "README.md").code == 0
    assert (tmp_path / "README.md").read_text() == said.out


def test_a_model_without_a_card_says_so(sightline, fitted, tmp_path):
    model = sl.Model.load(fitted / "runs" / "a")
    model.card = None
    model.save(tmp_path / "m.sightline")
    said = sightline("card", tmp_path / "m.sightline")
    assert said.code == 2
    assert "holds no model card" in said.err
