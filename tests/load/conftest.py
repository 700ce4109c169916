import pytest

from tests.load.postgres import BINARIES, Postgres
from tests.tools import missing


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server."""
    if not BINARIES:
        missing("postgresql")
    server = Postgres()
    yield server
    server.remove()
