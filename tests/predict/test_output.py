import sightline as sl
from sightline.predict.output import prediction_table


def test_an_empty_set_is_told_from_a_row_without_a_prediction(penguins, tmp_path):
    run = sl.fit(
        penguins, target="species", quality="fast", quiet=True, report=False, run=tmp_path / "r"
    )
    row = sl.read(penguins).row(3)
    data = {name: [value, value] for name, value in row.items() if name != "species"}
    data["body_mass_g"] = [3450, "heavy"]
    for alpha in (0.01, 0.9):
        found = run.model.predictions(data)
        table = prediction_table(run.model, found, (), alpha)
        sets = run.model.sets(found.values, alpha)
        assert table["set_size"].to_pylist() == [int(sets[0].sum()), None]
        assert table["set"].to_pylist()[1] is None
        assert (table["set"].to_pylist()[0] == "") == (not sets[0].any())
