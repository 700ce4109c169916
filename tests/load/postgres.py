"""A PostgreSQL server of its own, from Debian's packages, on loopback, for as long as the tests run."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import adbc_driver_postgresql.dbapi as driver

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
SECRET = "s3cr3t-p4ssw0rd"


class Postgres:
    """A server that trusts everybody on loopback; its password is never asked for, but must not be shown either."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sightline-postgres-"))
        self.data = self.folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "-D", self.data, "-A", "trust", "-U", "me")
        self.start()

    @property
    def address(self):
        return f"postgresql://me:{SECRET}@127.0.0.1:{self.port}/postgres"

    def start(self):
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run(
            "pg_ctl", "-D", self.data, "-o", options, "-w", "-l", self.folder / "log", "start"
        )

    def stop(self, how="fast"):
        self._run("pg_ctl", "-D", self.data, "-m", how, "-w", "stop")

    def remove(self):
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def execute(self, *statements):
        """Run statements, each in a transaction; return the rows of the last one."""
        rows = None
        with driver.connect(self.address, autocommit=True) as connection:
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    rows = cursor.fetchall() if cursor.description else None
        return rows

    def _run(self, program, *arguments):
        command = [str(BINARIES[-1] / program), *map(str, arguments)]
        user = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None
        subprocess.run(
            command, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "PGDATA": str(self.data), "LC_ALL": "C"},
        )  # fmt: skip
