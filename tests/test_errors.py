import pickle

import pytest

from sightline import errors


@pytest.mark.parametrize(
    "kind", ["DataError", "OptionError", "NetworkError", "BundleError", "RunError"]
)
def test_a_users_mistake_keeps_its_problem_and_its_fix(kind):
    error = getattr(errors, kind)("age is 'x'.", "Mend it.")
    assert isinstance(error, errors.UserError)
    assert isinstance(error, errors.SightlineError)
    assert (error.problem, error.fix, str(error)) == (
        "age is 'x'.",
        "Mend it.",
        "age is 'x'. Mend it.",
    )


@pytest.mark.parametrize(
    ("kind", "yes"),
    [
        ("DataError", True),
        ("OptionError", True),
        ("NetworkError", False),
        ("BundleError", False),
        ("RunError", False),
        ("InternalError", False),
    ],
)
def test_data_and_option_errors_are_value_errors(kind, yes):
    assert issubclass(getattr(errors, kind), ValueError) is yes


def test_an_internal_fault_is_not_the_users():
    assert issubclass(errors.InternalError, errors.SightlineError)
    assert not issubclass(errors.InternalError, errors.UserError)


def test_every_error_is_in_the_tree_drawn_at_the_top():
    kinds = [name for name in vars(errors) if name.endswith("Error")]
    assert len(kinds) == 9
    assert all(name in errors.__doc__ for name in kinds)


def test_interrupted_is_no_exception_that_a_program_may_swallow():
    error = errors.Interrupted(15, "runs/a", 1234)
    assert isinstance(error, KeyboardInterrupt)
    assert not isinstance(error, Exception)
    assert (error.signal, error.run, error.step) == (15, "runs/a", 1234)
    assert str(error).startswith("Interrupted after step 1,234; a checkpoint is written.")
    assert str(error).endswith("sightline resume runs/a")
    assert "Interrupted" in errors.__doc__


def test_did_you_mean_names_the_nearest():
    said = errors.did_you_mean("specie", ["island", "species"])
    assert said == "Did you mean 'species'? The columns are: 'island', 'species'."


def test_did_you_mean_sees_a_name_in_another_case():
    assert errors.did_you_mean("XY", ["xy", "z"]).startswith("Did you mean 'xy'?")


def test_did_you_mean_guesses_nothing_from_nothing_alike():
    assert errors.did_you_mean("q", ["island"], "classes") == "The classes are: 'island'."


def test_did_you_mean_cuts_a_long_list_and_long_names():
    said = errors.did_you_mean("q", [f"column {i}" for i in range(40)] + ["x" * 999])
    assert said.endswith("'column 11' and 29 more.")
    assert len(errors.did_you_mean("q", ["x" * 1_000_000])) < 100


def test_shorten_says_how_long_the_text_was():
    assert errors.shorten("abc", 3) == "abc"
    assert errors.shorten("a" * 1234, 3) == "aaa... (1,234 characters)"


@pytest.mark.parametrize(
    "error",
    [
        *(getattr(errors, kind)("age is 'x'.", "Mend it.")
          for kind in ("DataError", "OptionError", "NetworkError", "BundleError", "RunError")),
        errors.Interrupted(15, "runs/x", 7), errors.Interrupted(2, "runs/x", 7, written=False),
        errors.InternalError("ours"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_an_error_survives_the_way_between_two_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
