import gzip
import zlib

import pytest

from sightline.serve.body import decompress
from sightline.serve.errors import Refused


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_body_is_decompressed(encoding, pack):
    assert decompress(pack(b"x" * 100), encoding, 100) == b"x" * 100


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_bomb_is_stopped_before_it_is_large(encoding, pack):
    bomb = pack(bytes(50_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(Refused) as caught:
        decompress(bomb, encoding, 1_000_000)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing",
        gzip.compress(b"abc", mtime=0)[:-4],
        gzip.compress(b"abc", mtime=0) + b"more",
    ],
)
def test_a_body_that_is_not_what_it_says_is_refused(content):
    with pytest.raises(Refused) as caught:
        decompress(content, "gzip", 1000)
    assert caught.value.status == 400
