import pytest

from sightline.errors import RunError
from sightline.evaluate.typed_row import answer
from sightline.train.commands import Command
from tests.predict.tables import columns, row


def asked(**changes):
    return Command("explain", id="7", row={**row(columns(), 5), **changes})


def test_a_row_is_explained(every):
    body = answer(lambda: every, asked(), 12, 3, "after step 12")
    assert (body["id"], body["step"], body["epoch"], body["said"]) == ("7", 12, 3, "after step 12")
    assert body["error"] is None
    assert body["row"] == row(columns(), 5)
    assert body["explanation"]["raw"]["size"] == 1.35
    assert body["explanation"]["prediction"] in ("no", "yes")


@pytest.mark.parametrize(
    ("changes", "error"), [({"size": "huge"}, "'huge' is not a finite number"), ({"day": "soon"}, "'soon' is not a date")]
)  # fmt: skip
def test_a_value_that_cannot_be_read_is_an_answer(every, changes, error):
    body = answer(lambda: every, asked(**changes), None, None, "")
    assert error in body["error"]
    assert body["explanation"] is None


def test_whatever_the_model_raises_is_an_answer():
    def gone():
        raise RunError("There is no model.", "Fit one.")

    def broken():
        raise ZeroDivisionError("x" * 5000)

    assert answer(gone, asked(), None, None, "")["error"].startswith("There is no model.")
    error = answer(broken, asked(), None, None, "")["error"]
    assert error.startswith("ZeroDivisionError: xxx")
    assert len(error) < 700
    assert error.endswith("(5,019 characters)")
