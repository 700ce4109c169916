"""The server's interface as an OpenAPI document, each model's columns in it, and as a page without scripts."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.predict.conformal import ALPHA
from sightline.predict.described import own_version
from sightline.serve.answers import output_shapes
from sightline.serve.model import Served
from sightline.serve.tensors import DTYPES

STATIC = Path(__file__).parent / "static"
JSON = "application/json"
ERRORS = {
    "400": "The request is not as it must be; the error names the row and the column.",
    "404": "The model is not served.",
    "408": "The request was not received in time.",
    "413": "The request has too many bytes or rows.",
    "415": "The body is compressed in a way that the server does not read.",
    "500": "A fault of the server.",
    "501": "Needs PyTorch, which this server runs without.",
    "503": "Not ready, or too many requests wait; Retry-After says when to try again.",
    "504": "The answer was not ready in time.",
}


def document(models: Mapping[str, Served], *, keys: bool = False) -> dict[str, Any]:
    """Return the OpenAPI document (version 3.1).

    Args:
        models: The models that are served, by name.
        keys: Whether requests need an API key.
    """
    schemas: dict[str, Any] = {
        "Error": _object({"error": {"type": "string"}}, ["error"]),
        "Tensor": _tensor(),
        "InferRequest": _object(
            {
                "id": {"type": "string"}, "parameters": {"type": "object"},
                "inputs": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Tensor"}},
                "outputs": {"type": "array", "items": _object(
                    {"name": {"type": "string"}, "parameters": {"type": "object"}}, ["name"])},
            }, ["inputs"], further=False),
        "Health": _object({"live": {"type": "boolean"}, "ready": {"type": "boolean"}}, ["live", "ready"]),
    }  # fmt: skip
    paths: dict[str, Any] = {
        "/v2": {"get": _get("The server and its extensions", {"type": "object"})},
        "/v2/health/live": {"get": _get("Whether the process lives", _ref("Health"), free=True)},
        "/v2/health/ready": {"get": _get("Whether requests should come here", _ref("Health"), "503", free=True)},
        "/metrics": {"get": {**_operation("Numbers for Prometheus"), "responses": {
            "200": {"description": "Prometheus's text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}}}},
    }  # fmt: skip
    for name, served in models.items():
        schemas |= {f"{name}.{part}": schema for part, schema in _schemas(served).items()}
        rows = {"post": _post(
            f"Predict rows with {name}", _ref(f"{name}.Rows"), _ref(f"{name}.Predictions"))}  # fmt: skip
        row = {"post": _post(
            f"Explain a row's prediction by {name}", _ref(f"{name}.RowToExplain"), {"type": "object"}, "501")}  # fmt: skip
        paths |= {f"/predict/{name}": rows, f"/explain/{name}": row}
        if len(models) == 1:
            paths |= {"/predict": rows, "/explain": row}
        about = {"get": _get(f"Inputs and outputs of {name}", {"type": "object"}, "404")}
        ready = {"get": _get(f"Whether {name} answers", {"type": "object"}, "404", "503")}
        infer = {"post": _post(f"Predict tensors with {name}", _ref("InferRequest"), {"type": "object"})}  # fmt: skip
        bases = [f"/v2/models/{name}"]
        if served.version:
            bases.append(f"/v2/models/{name}/versions/{served.version}")
        for base in bases:
            paths |= {base: about, f"{base}/ready": ready, f"{base}/infer": infer}
    components: dict[str, Any] = {"schemas": schemas}
    if keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path in paths.values():
            for operation in path.values():
                if not operation.pop("free", False):
                    operation["security"] = [{"key": []}]
                    operation["responses"]["401"] = _answer("The API key is missing or wrong.", _ref("Error"))  # fmt: skip
    for path in paths.values():
        for operation in path.values():
            operation.pop("free", None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sightline", "version": own_version(),
            "description": "Predictions of tables. The paths under /v2 are the Open Inference Protocol.",
        },
        "paths": paths, "components": components,
    }  # fmt: skip


def described(served: Served) -> dict[str, Any]:
    """Describe a model for the page: target, outputs, and each column with its range or categories."""
    model, target = served.model, served.model.spec.target
    return {
        "name": served.name, "version": served.version, "engine": served.engine, "target": target.name,
        "classes": list(served.texts) if model.classification else [],
        "sets": _has_sets(served),
        "start": example_row(served), "columns": _columns(served),
    }  # fmt: skip


def _has_sets(served: Served) -> bool:
    return not {"set", "interval"}.isdisjoint(output_shapes(served))


def _columns(served: Served) -> list[dict[str, Any]]:
    schema = served.model.encoder.schema
    columns = []
    for one in served.inputs:
        column: dict[str, Any] = {"name": one.name, "kind": one.kind, "said": one.said}
        if one.kind == "numeric":
            column["range"] = list(schema.ranges[one.name])
            column["whole"] = schema[one.name].values == "integer"
        elif one.kind == "datetime":
            column["examples"] = one.schema.get("examples", [])
        elif one.kind == "categorical":
            column["categories"] = list(schema.vocabularies.get(one.name, ()))
        columns.append(column)
    return columns


def _schemas(served: Served) -> dict[str, Any]:
    row = _object(
        {one.name: one.schema for one in served.inputs}, [one.name for one in served.inputs]
    )
    label = {"type": ["string", "number", "boolean", "null"]}
    if served.model.classification:
        prediction = _object(
            {
                "label": label, "set": {"type": "array", "items": label},
                "probabilities": _object(
                    {text: {"type": ["number", "null"]} for text in served.texts}, list(served.texts)
                ),
            }, ["label", "probabilities"])  # fmt: skip
    else:
        ends = {"type": "array", "items": {"type": ["number", "null"]}, "minItems": 2, "maxItems": 2}  # fmt: skip
        prediction = _object({"value": {"type": ["number", "null"]}, "interval": ends}, ["value"])
    counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    predictions = _object(
        {
            "model": {"type": "string"}, "version": {"type": "string"},
            "predictions": {"type": "array", "items": prediction}, "missing": counts, "unseen": counts,
            "out_of_range": counts, "ignored": {"type": "array", "items": {"type": "string"}},
        }, ["model", "predictions", "missing", "unseen", "out_of_range", "ignored"])  # fmt: skip
    alpha = {
        "type": ["number", "null"], "minimum": ALPHA, "maximum": 0.99,
        "description": "Adds sets or intervals that miss the truth in this share of rows.",
    }  # fmt: skip
    rows = _object(
        {"rows": {"type": "array", "minItems": 1, "items": row},
         "alpha": alpha if _has_sets(served) else {"type": "null"}},
        ["rows"], further=False)  # fmt: skip
    explained = _object(
        {"row": row, "layers": {"type": ["boolean", "null"]}}, ["row"], further=False
    )
    return {"Rows": rows, "Predictions": predictions, "RowToExplain": explained}


def _tensor() -> dict[str, Any]:
    return _object(
        {
            "name": {"type": "string"}, "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"enum": ["BYTES", *DTYPES]}, "data": {"type": "array"}, "parameters": {"type": "object"},
        }, ["name", "shape", "datatype"])  # fmt: skip


def _object(properties: Mapping[str, Any], required: list[str], *, further: bool = True) -> dict[str, Any]:  # fmt: skip
    return {
        "type": "object", "properties": dict(properties), "required": required,
        **({} if further else {"additionalProperties": False}),
    }  # fmt: skip


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(said: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": said, "content": {JSON: {"schema": schema}}}


def _operation(summary: str) -> dict[str, Any]:
    return {"summary": summary}


def _get(summary: str, schema: Mapping[str, Any], *errors: str, free: bool = False) -> dict[str, Any]:  # fmt: skip
    responses = {"200": _answer("The answer.", schema)}
    for status in errors:
        own = schema if status == "503" and free else _ref("Error")
        responses[status] = _answer(ERRORS[status], own)
    return {**_operation(summary), "responses": responses, **({"free": True} if free else {})}


def _post(
    summary: str, asked: Mapping[str, Any], schema: Mapping[str, Any], *further: str
) -> dict[str, Any]:
    errors = ["400", "404", "408", "413", "415", "500", "503", "504", *further]
    responses = {"200": _answer("The answer.", schema)}
    responses |= {status: _answer(ERRORS[status], _ref("Error")) for status in sorted(errors)}
    return {
        **_operation(summary), "responses": responses,
        "requestBody": {"required": True, "content": {JSON: {"schema": asked}}},
    }  # fmt: skip


# ------------------------------------------------------------- the page


def example_row(served: Served) -> dict[str, Any]:
    """Return a row for examples: the middle of ranges and the most frequent categories.

    Example:
        >>> import sightline as sl
        >>> from sightline.serve.files import given
        >>> from sightline.serve.model import Served
        >>> from sightline.serve.openapi import example_row
        >>> run = sl.fit({"x": [i / 4 for i in range(40)], "y": [0, 1] * 20}, "y", network="MLP", epochs=1, quiet=True)
        >>> run.model.save("m.sightline")
        >>> example_row(Served(given(["m.sightline"])[0].read()))
        {'x': 4.875}
    """
    row: dict[str, Any] = {}
    for column in _columns(served):
        if column["kind"] == "numeric":
            low, high = column["range"]
            middle = (low + high) / 2
            row[column["name"]] = round(middle) if column["whole"] else float(f"{middle:.4g}")
        elif column["kind"] == "boolean":
            row[column["name"]] = True
        else:
            values = column.get("categories") or column.get("examples") or [None]
            row[column["name"]] = values[0]
    return row


def page(models: Mapping[str, Served], base: str, *, keys: bool = False) -> str:
    """Return the interface as an HTML page, which loads nothing from another host.

    Args:
        models: The models that are served, by name.
        base: The server's address, for the example requests.
        keys: Whether requests need an API key; then no column is shown.
    """
    parts = [
        "<h1>The interface of this server</h1>",
        "<p>Predictions of tables over HTTP. The paths under <code>/v2</code> are the Open Inference Protocol; "
        "the whole description is <a href=\"openapi.json\">openapi.json</a>, and <a href=\"./\">the first page</a> "
        "lets you try a row by hand.</p>",
    ]  # fmt: skip
    if keys:
        parts.append("<p>Requests need an API key: <code>Authorization: Bearer KEY</code>.</p>")
        models = {}  # the columns are for those with a key
    if not models:
        parts.append("<p>No model is shown here.</p>")
    for name, served in models.items():
        target = served.model.spec.target.name
        version = f", version {html.escape(served.version)}" if served.version else ""
        parts.append(
            f'<h2 class="space">{html.escape(name)}{version}: predicts {html.escape(target)}</h2>'
        )
        body = json.dumps({"rows": [example_row(served)]}, ensure_ascii=False, indent=1)
        shown = html.escape(body.replace("'", "'\\''"))
        parts.append(
            "<p>A request:</p>"
            f"<pre>curl -H 'Content-Type: application/json' {html.escape(base)}predict/{html.escape(name)} -d '{shown}'</pre>"
        )
        cells = [
            f"<tr><th scope=\"row\"><bdi>{html.escape(one.name)}</bdi></th><td>{html.escape(one.said)}</td>"
            f"<td><bdi>{html.escape(one.schema.get('description', ''))}</bdi></td><td>{one.datatype}</td></tr>"
            for one in served.inputs
        ]  # fmt: skip
        parts.append(
            '<div class="scroll"><table><caption>Columns</caption><thead><tr><th scope="col">Column</th>'
            '<th scope="col">Value</th><th scope="col">In training</th><th scope="col">Datatype in /v2</th></tr></thead>'
            f"<tbody>{''.join(cells)}</tbody></table></div>"
        )
    rows = [
        f"<tr><th scope=\"row\"><code>{method.upper()} {html.escape(path)}</code></th>"
        f"<td>{html.escape(operation['summary'])}</td></tr>"
        for path, methods in document(models, keys=keys)["paths"].items()
        for method, operation in methods.items()
    ]  # fmt: skip
    parts.append(
        '<h2>Paths</h2><div class="scroll"><table><caption>Paths</caption><thead><tr><th scope="col">Path</th>'
        f'<th scope="col">What it does</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )
    errors = "".join(
        f"<li><code>{status}</code> {html.escape(said)}</li>" for status, said in ERRORS.items()
    )
    parts.append(
        '<h2>Errors</h2><p>Every error is <code>{"error": "a sentence"}</code>.</p>'
        f"<ul>{errors}</ul>"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>Sightline: the interface</title>'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="static/style.css"></head>'
        f"<body><main>{''.join(parts)}</main></body></html>"
    )
