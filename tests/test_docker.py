"""The image and the examples beside it, kept honest outside a container: what they install, and what they run."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

import sightline as sl
from sightline.cli.main import cli
from sightline.cli.ship import serve
from tests.page.serving import PATIENCE, Site, until

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
MOST_MB = 400


def instructions(name):
    """Return the arguments of an instruction of the Dockerfile, line ends joined."""
    text = re.sub(r"\\\n\s*", "", (DOCKER / "Dockerfile").read_text(encoding="utf-8"))
    return [line.split(" ", 1)[1] for line in text.splitlines() if line.startswith(f"{name} ")]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """An environment made by the commands of the Dockerfile, in another place."""
    folder = tmp_path_factory.mktemp("image") / "sightline"
    for command in instructions("RUN"):
        if "useradd" in command:
            continue
        here = (
            command.replace("/opt/sightline", str(folder)).replace("/tmp/requirements.txt", str(DOCKER / "requirements.txt"))
            .replace(" /src", f" {ROOT}").replace("python -m venv", f"{sys.executable} -m venv")
        )  # fmt: skip
        done = subprocess.run(
            ["bash", "-euc", here], capture_output=True, text=True, cwd=folder.parent
        )
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory, penguins):
    """A folder of models with columns of numbers, categories and texts."""
    folder = tmp_path_factory.mktemp("models")
    model = sl.fit(
        penguins, "species", quality="fast", run=folder / ".run", report=False, quiet=True
    ).model
    model.save(folder / "penguins.sightline", onnx=True)
    data = {"note": [f"red w{i % 7} {i}" for i in range(60)], "y": ["a", "b", "c"] * 20}
    sl.fit(data, "y", kinds={"note": "text"}, quality="fast", epochs=1, quiet=True).model.to_onnx(folder / "notes.onnx")  # fmt: skip
    return folder


def test_it_is_small_and_holds_no_pytorch(image):
    (packages,) = image.glob("lib/python3*/site-packages")
    size = int(
        subprocess.run(["du", "-sm", packages], capture_output=True, text=True).stdout.split()[0]
    )
    assert size <= MOST_MB
    code = "import importlib.util as u; print([n for n in ('torch', 'sklearn', 'scipy', 'pandas') if u.find_spec(n)])"
    done = subprocess.run([image / "bin" / "python", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_its_command_serves(image, models):
    (entry,), (command,) = instructions("ENTRYPOINT"), instructions("CMD")[-1:]
    arguments = [*json.loads(entry), *json.loads(command)]
    changed = {
        "/models": str(models),
        "0.0.0.0": "127.0.0.1",
        "8000": "0",
        "sightline": str(image / "bin" / "sightline"),
    }
    process = subprocess.Popen(
        [changed.get(one, one) for one in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        site = Site(line.split(" at ")[1].split(" ")[0])
        site.path = "/"
        for name, row in (("penguins", dict.fromkeys(
            ["island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex", "year"])),
            ("notes", {"note": "red w3 number 9"})):  # fmt: skip
            status, _, body = site.ask("POST", f"predict/{name}", json.dumps({"rows": [row]}))
            assert status == 200, body
        assert site.ask("GET", "v2/health/ready")[0] == 200
        assert b"sightline_rows_total" in site.ask("GET", "metrics")[2]
        assert site.ask("GET", "")[0] == 200
        # The health check of the image.
        (check,) = [line for line in instructions("HEALTHCHECK") if "CMD" in line]
        code = json.loads(check.split("CMD ", 1)[1])[2].replace(
            "127.0.0.1:8000", f"127.0.0.1:{site.port}"
        )
        assert subprocess.run([image / "bin" / "python", "-c", code], check=False).returncode == 0
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
    until(lambda: process.poll() == 0)


def test_it_predicts_files(image, models, penguins, tmp_path):
    done = subprocess.run(
        [image / "bin" / "sightline", "predict", models / "penguins.sightline", penguins, "-o", tmp_path / "p.parquet"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    import pyarrow.parquet as pq

    expected = sl.Model.load(models / "penguins.sightline").predict_proba(penguins)
    assert (
        abs(
            pq.read_table(tmp_path / "p.parquet")["probability_Adelie"].to_numpy() - expected[:, 0]
        ).max()
        < 1e-5
    )
    done = subprocess.run([image / "bin" / "sightline", "inspect", models / "notes.onnx"], capture_output=True, text=True)  # fmt: skip
    assert "written by Sightline" in done.stdout


def test_every_requirement_has_hashes_and_the_version_of_the_constraints():
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)  # fmt: skip
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pinned.items()}
    text = (DOCKER / "requirements.txt").read_text()
    wanted = {
        line
        for line in (DOCKER / "requirements.in").read_text().splitlines()
        if not line.startswith("#")
    }
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert {block.split("==")[0] for block in blocks} == wanted
    for block in blocks:
        name, version = block.split(" ")[0].split("==")
        assert pinned[name] == version
        assert block.count("--hash=sha256:") > 0
    assert "http" not in text.replace("httptools", "")


def parsed(arguments):
    """Parse the arguments of `sightline serve`, as its own command does."""
    assert arguments[0] == "serve"
    # Click keeps the help option that it makes here: it must be the one of the whole command line.
    above = click.Context(cli, **cli.context_settings)
    return serve.make_context("serve", list(arguments[1:]), parent=above).params


def test_the_examples_run_commands_that_there_are():
    (command,) = instructions("CMD")[-1:]
    assert parsed(json.loads(command))["watch"] == "/models"
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["sightline"]
    assert parsed(compose["command"])["workers"] == 2
    assert (
        DOCKER / compose["build"]["context"] / compose["build"]["dockerfile"]
    ).resolve() == DOCKER / "Dockerfile"
    deployment, service = yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    options = parsed(pod["containers"][0]["args"])
    assert options["drain"] < pod["terminationGracePeriodSeconds"]
    assert service["spec"]["ports"][0]["targetPort"] == options["port"]
    (container,) = yaml.safe_load((DOCKER / "kserve.yaml").read_text())["spec"]["predictor"][
        "containers"
    ]
    options = parsed(container["args"])
    assert container["ports"][0]["containerPort"] == options["port"]
    for probe in (
        pod["containers"][0]["livenessProbe"],
        pod["containers"][0]["readinessProbe"],
        container["readinessProbe"],
    ):
        assert probe["httpGet"]["path"] in ("/v2/health/live", "/v2/health/ready")
        assert probe["httpGet"]["port"] in (8000, 8080)
    assert shlex.split((ROOT / ".dockerignore").read_text())
