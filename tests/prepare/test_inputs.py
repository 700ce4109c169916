import sightline as sl
from sightline.prepare.inputs import input_columns


def test_every_input_knows_the_column_it_was_made_from():
    data = {
        "size": [None if i % 5 == 0 else i / 2 for i in range(40)],
        "city": [f"c{i % 3}" for i in range(40)],
        "note": [f"red w{i % 7} number {i}" for i in range(40)],
        "y": [i % 2 for i in range(40)],
    }
    kinds = {"size": "numeric", "city": "categorical", "note": "text"}
    prepared = sl.prepare(sl.split(sl.read(data, kinds=kinds), target="y"))
    columns = input_columns(prepared.encoder, prepared.spec)
    assert columns.names == ["size", "city", "note"]
    numeric = [columns.names[index] for index in columns.numeric]
    assert numeric == [feature.column for feature in prepared.spec.numeric]
    assert numeric.count("size") == 2, "the number and its missing flag"
    assert numeric.count("note") > 1, "its n-grams"
    assert [columns.names[index] for index in columns.categorical] == ["city"]


def test_a_table_without_categories_has_no_category_indexes():
    data = {"x": [i / 3 for i in range(30)], "y": [i % 2 for i in range(30)]}
    prepared = sl.prepare(sl.split(sl.read(data), target="y"))
    columns = input_columns(prepared.encoder, prepared.spec)
    assert columns.categorical.tolist() == []
    assert columns.numeric.tolist() == [0]
