"""Tables that are made from others: joined and coded categories, and rows that no figure tests on."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import categorical_tables, peers, small_tables

FRAME = pd.DataFrame({"a": ["x", "y", "x"], "b": ["1", "", "2"], "c": ["u", "u", "v"]})


def test_columns_are_joined():
    made = categorical_tables.crossed(FRAME, ("a", "a b", "c a b"))
    assert made.to_dict("list") == {"a": ["x", "y", "x"], "a_b": ["x|1", "y|", "x|2"], "c_a_b": ["u|x|1", "u|y|", "v|x|2"]}  # fmt: skip


def test_values_become_numbers_in_the_order_in_which_they_appear():
    made = categorical_tables.coded(FRAME)
    assert made.to_dict("list") == {"a": ["0", "1", "0"], "b": ["0", "1", "2"], "c": ["0", "0", "1"]}  # fmt: skip


def test_a_written_table_has_the_same_bytes_again_and_the_same_cells(tmp_path):
    paths = [tmp_path / name for name in ("t.csv.gz", "u.csv.gz")]
    for path in paths:
        categorical_tables.write(FRAME, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    pd.testing.assert_frame_equal(categorical_tables.read(tmp_path, "t"), FRAME, check_dtype=False)


@pytest.mark.parametrize("classes", [4, 500])
def test_no_figure_tests_on_the_rows_of_small_tables(classes):
    target = pd.Series(np.arange(500) % classes).astype(str)
    free = small_tables.untested(target).to_numpy()
    for seed in range(3):
        assert not free[peers.split(np.unique(target, return_inverse=True)[1], classes == 4, seed)[1]].any()  # fmt: skip
    assert free.mean() == pytest.approx(0.8**3, abs=0.05)


@pytest.mark.parametrize("module", [categorical_tables, small_tables])
def test_a_folder_without_the_tables_is_refused(module, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["tables", str(tmp_path), str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"has no \w+\.csv\.gz"):
        module.main()
