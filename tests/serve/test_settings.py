import pytest

from sightline.errors import OptionError
from sightline.serve.settings import Settings, digest, keys_of


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 0}, "--workers is 0"),
        ({"batch_rows": 0}, "--batch-rows is 0"),
        ({"queue": 0}, "--queue is 0"),
        ({"max_body": 0}, "--max-body is 0"),
        ({"max_rows": -1}, "--max-rows is -1"),
        ({"timeout": 0}, "--timeout is 0 s"),
        ({"timeout": float("nan")}, "--timeout is nan s"),
        ({"drain": -1}, "--drain is -1 s"),
        ({"port": 70_000}, "--port is 70000"),
    ],
)
def test_limits_that_are_none_are_refused(options, said):
    with pytest.raises(OptionError, match=said):
        Settings(**options)


def test_keys_are_kept_as_digests_and_each_opens():
    keys = keys_of(["# two keys", " one ", "", "two"])
    assert keys == (digest("one"), digest("two"))
    settings = Settings(keys=keys)
    assert [settings.is_key(text) for text in ("one", "two", "three", "", "one\udcff")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert b"one" not in b"".join(keys)
