import pytest

from tests.load.moto import PROGRAM, Moto
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


@pytest.fixture(scope="session")
def moto():
    """A server that speaks S3."""
    if not PROGRAM.exists():
        missing("moto")
    server = Moto()
    yield server
    server.stop()
