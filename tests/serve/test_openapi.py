"""The OpenAPI document, and what Schemathesis makes of it."""

import subprocess
import sys

from sightline.serve.files import ModelFile
from sightline.serve.model import Served
from sightline.serve.openapi import document, page
from tests.serve.served import serving


def test_the_server_does_as_its_description_says(models, tmp_path):
    with serving(models / "species.sightline", f"fox={models / 'mixed.onnx'}", "--drain", 0) as server:  # fmt: skip
        # JSON schema cannot say that a tensor's shape and data, or its names and the model's, must agree.
        # An answer of 501 is right where the path through the layers is asked of ONNX Runtime.
        for further in (
            ["--exclude-path-regex", "infer|explain"],
            ["--include-path-regex", "infer", "--exclude-checks", "positive_data_acceptance"],
            ["--include-path-regex", "explain", "--exclude-checks", "not_a_server_error"],
        ):
            done = subprocess.run(
                [sys.executable, "-m", "schemathesis.cli", "run", f"{server.address}/openapi.json", "--checks", "all",
                 "--max-examples", "25", "--seed", "1", "--no-color", "--suppress-health-check", "all", *further],
                capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout[-8000:]


def loaded(models, name):
    path = models / name
    return Served(ModelFile(path.stem, "3", str(path), path.read_bytes()))


def test_columns_are_typed_by_the_models_schema(models):
    found = document({"mixed": loaded(models, "mixed.sightline")})
    row = found["components"]["schemas"]["mixed.Rows"]["properties"]["rows"]["items"]
    kinds = {name: one["type"] for name, one in row["properties"].items()}
    assert kinds == {
        "size": ["number", "null"], "city": ["string", "null"], "paid": ["boolean", "null"],
        "day": ["string", "null"], "note": ["string", "null"],
    }  # fmt: skip
    assert row["properties"]["size"]["description"].startswith("In training from")
    assert "c1" in row["properties"]["city"]["examples"]
    assert "/v2/models/mixed/versions/3/infer" in found["paths"]


def test_the_page_of_the_interface_escapes_what_comes_from_the_data(models):
    served = loaded(models, "mixed.sightline")
    served.name = "<script>alert(1)</script>"
    assert "<script" not in page({served.name: served}, "http://x/")


def test_the_page_hides_columns_where_keys_are_asked_for(models):
    assert "city" not in page({"m": loaded(models, "mixed.sightline")}, "http://x/", keys=True)
