"""The web application of one process: routes, limits, keys, errors, metrics and logs.

Starlette (extra `serve`) is imported here, and this module only in processes of a server.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import math
import time
import traceback
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route, Router

from sightline.errors import OptionError, listed
from sightline.page.guard import HEADERS as PAGE_HEADERS
from sightline.page.single_file import STATIC as PAGE_STATIC
from sightline.predict.conformal import ALPHA, check_alpha
from sightline.predict.described import own_version
from sightline.serve import answers, openapi
from sightline.serve.batching import Batcher
from sightline.serve.body import read_body
from sightline.serve.errors import Refused, bad, not_ready
from sightline.serve.inputs import check_row, rows_of
from sightline.serve.log import Log
from sightline.serve.metrics import Metrics, exposition
from sightline.serve.model import Computed, EncodedRows, Served, rows_said
from sightline.serve.registry import Registry
from sightline.serve.settings import Settings
from sightline.serve.tensors import InferRequest, load_json, parse, write

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]
OPEN = frozenset({"index", "static", "docs", "live", "ready"})
"""Endpoints that need no API key: they hold nothing of a model."""
SMALL_BODY = 32_768
"""Bytes; a larger body is read and encoded on another thread, so that nobody else waits."""
SMALL_ROWS = 64
COMPRESSED_FROM = 1024
"""Bytes; a shorter answer is not compressed."""
STATIC_FILES = {
    "try.js": "text/javascript", "try.css": "text/css", "style.css": "text/css", "dom.js": "text/javascript",
    "charts.js": "text/javascript", "prediction.js": "text/javascript",
}  # fmt: skip


class Application:
    """An ASGI application that answers with the models of a registry.

    Args:
        registry: The models.
        settings: Limits and manners.
        metrics: What is counted.
        log: Where requests are logged.
    """

    def __init__(self, registry: Registry, settings: Settings, metrics: Metrics, log: Log) -> None:
        self.registry, self.settings, self.metrics, self.log = registry, settings, metrics, log
        self.batcher = Batcher(settings.batch_rows, settings.queue, metrics)
        self._explaining = asyncio.Lock()  # explanations are slow: one after another
        model = "/v2/models/{model}"
        version = model + "/versions/{version}"
        get, post = ["GET"], ["POST"]
        endpoints = [
            ("/predict", self.predict, post),
            ("/predict/{model}", self.predict, post),
            (f"{model}/infer", self.infer, post),
            (f"{version}/infer", self.infer, post),
            ("/explain", self.explain, post),
            ("/explain/{model}", self.explain, post),
            ("/v2", self.server, get),
            ("/v2/health/live", self.live, get),
            ("/v2/health/ready", self.ready, get),
            (model, self.model, get),
            (version, self.model, get),
            (f"{model}/ready", self.model_ready, get),
            (f"{version}/ready", self.model_ready, get),
            ("/metrics", self.exposition, get),
            ("/openapi.json", self.openapi, get),
            ("/models", self.models, get),
            ("/docs", self.docs, get),
            ("/static/{name}", self.static, get),
            ("/", self.index, get),
        ]
        routes = [
            Route(path, self._guarded(one), methods=methods) for path, one, methods in endpoints
        ]
        self.router = Router(routes, redirect_slashes=False, default=_not_found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens, the client gets an answer, and it is counted and logged."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        status, started, kind, sentence = 500, False, None, ""

        async def sending(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
            await send(message)

        scope["app"] = self  # then Starlette raises HTTPException, and writes no text of its own
        scope["arrived"] = time.monotonic()
        refused: Refused | None = None
        try:
            await self.router(scope, receive, sending)
        except Refused as error:
            refused = error
        except HTTPException as error:
            refused = _of_http(scope, error)
        except Exception:  # noqa: BLE001 - one request must not end the server; it is logged with its traceback
            refused = Refused(500, "Internal error; the server's log tells more.", "internal error")
            self.log.write("error", {"traceback": traceback.format_exc()} if self.settings.log_rows else _where())  # fmt: skip
        if refused is not None:
            kind, sentence = refused.kind, refused.sentence
            if not started:
                answer = _json({"error": sentence}, refused.status, refused.headers)
                await answer(scope, receive, sending)
        seconds = time.perf_counter() - began
        endpoint = getattr(scope.get("endpoint"), "__name__", "unknown")
        self.metrics.request(endpoint, status, seconds, kind)
        said = self.settings.log == "errors" and status >= 400 and endpoint != "ready"
        if self.settings.log == "all" or said:
            self.log.request(scope, endpoint, status, seconds, kind, sentence if self.settings.log_rows else None)  # fmt: skip

    # ------------------------------------------------------------- rows

    async def predict(self, request: Request) -> Response:
        """Predict rows that are JSON objects."""
        body = await self._body(request)
        served = self.registry.find(request.path_params.get("model"))
        if len(body) <= SMALL_BODY:
            rows, alpha, encoded = self._read_rows(served, body)
        else:
            rows, alpha, encoded = await asyncio.to_thread(self._read_rows, served, body)
        computed = await self.batcher.compute(served, encoded, self._deadline(request))
        made = {
            "model": served.name, **({"version": served.version} if served.version else {}),
            "predictions": answers.rows_json(served, computed, alpha),
            "missing": computed.missing, "unseen": computed.unseen, "out_of_range": computed.out_of_range,
            "ignored": sorted(set().union(*rows) - served.known),
        }  # fmt: skip
        return _json(made)

    def _read_rows(
        self, served: Served, body: bytes
    ) -> tuple[list[Any], float | None, EncodedRows]:
        data = load_json(body)
        if not isinstance(data, dict) or not isinstance(data.get("rows"), list):
            raise bad('The body must be {"rows": [{...}, ...]}, each row an object with a value for each column.')  # fmt: skip
        if unknown := data.keys() - {"rows", "alpha"}:
            raise bad(f"The body has no field {sorted(unknown)[0]!r}; its fields are rows and alpha.")  # fmt: skip
        rows, alpha = data["rows"], _alpha(data.get("alpha"))
        if not rows:
            raise bad("rows is empty.")
        if len(rows) > self.settings.max_rows:
            raise rows_said(len(rows), self.settings.max_rows)
        checked = [check_row(served.inputs, row, number) for number, row in enumerate(rows)]
        return rows, alpha, served.encode(checked)

    async def explain(self, request: Request) -> Response:
        """Explain the prediction of one row."""
        body = await self._body(request)
        served = self.registry.find(request.path_params.get("model"))
        data = load_json(body)
        if not isinstance(data, dict) or not isinstance(data.get("row"), dict):
            raise bad('The body must be {"row": {...}}, an object with a value for each column.')
        if unknown := data.keys() - {"row", "layers"}:
            raise bad(f"The body has no field {sorted(unknown)[0]!r}; its fields are row and layers.")  # fmt: skip
        layers = data.get("layers")
        if not isinstance(layers, bool | None):
            raise bad("layers must be true or false.")
        row = check_row(served.inputs, data["row"], 0)
        served.encode([row])
        async with self._explaining:
            found = await asyncio.to_thread(served.explain, row, layers)
        return _json({"model": served.name, "engine": served.engine, **found})

    # ------------------------------------------------------------- the Open Inference Protocol

    async def server(self, request: Request) -> Response:
        """Describe the server."""
        return _json(
            {"name": "sightline", "version": own_version(), "extensions": ["binary_tensor_data"]}
        )

    async def live(self, request: Request) -> Response:
        """Tell that the process lives."""
        return _json({"live": True, "ready": self.registry.ready})

    async def ready(self, request: Request) -> Response:
        """Tell whether requests should come here."""
        ready = self.registry.ready
        return _json({"live": True, "ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        """Describe a model's inputs and outputs."""
        return _json(metadata(self._named(request)))

    async def model_ready(self, request: Request) -> Response:
        """Tell whether a model answers."""
        served = self._named(request)
        if not self.registry.ready:
            raise not_ready()
        return _json({"name": served.name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Predict rows that are given as a tensor a column."""
        body = await self._body(request)
        served = self._named(request)
        header = request.headers.get("inference-header-content-length")
        if len(body) <= SMALL_BODY:
            asked, encoded = self._read_tensors(served, body, header)
        else:
            asked, encoded = await asyncio.to_thread(self._read_tensors, served, body, header)
        alpha = _alpha(asked.parameters.get("alpha"))
        computed = await self.batcher.compute(served, encoded, self._deadline(request))
        if len(encoded.numbers) <= SMALL_ROWS:
            made = _inferred(served, asked, computed, alpha)
        else:
            made = await asyncio.to_thread(_inferred, served, asked, computed, alpha)
        content, length = made
        headers = {"Content-Type": "application/json"}
        if length is not None:
            headers = {
                "Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(length)
            }  # fmt: skip
        accepted = request.headers.get("accept-encoding", "")
        if accepted and len(content) >= COMPRESSED_FROM:
            encoding = next((one for one in ("gzip", "deflate") if one in accepted), None)
            if encoding is not None:
                content = gzip.compress(content, 1) if encoding == "gzip" else zlib.compress(content, 1)  # fmt: skip
                headers["Content-Encoding"] = encoding
        return Response(content, headers=headers)

    def _read_tensors(self, served: Served, body: bytes, header: str | None) -> tuple[InferRequest, EncodedRows]:  # fmt: skip
        asked = parse(body, header)
        longest = max(math.prod(tensor.shape) for tensor in asked.inputs)
        if longest > self.settings.max_rows:
            raise rows_said(longest, self.settings.max_rows)
        rows = rows_of(served.inputs, asked.inputs)
        if not rows:
            raise bad("The tensors have no rows.")
        return asked, served.encode(rows)

    def _named(self, request: Request) -> Served:
        return self.registry.find(request.path_params["model"], request.path_params.get("version"))

    # ------------------------------------------------------------- about the server

    async def exposition(self, request: Request) -> Response:
        """Give the numbers of all processes to Prometheus."""
        content = await asyncio.to_thread(exposition)
        return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, request: Request) -> Response:
        """Describe the server's interface, each model's columns in it."""
        return _json(openapi.document(self.registry.models, keys=bool(self.settings.keys)))

    async def models(self, request: Request) -> Response:
        """Describe the models for the page: columns, ranges, categories."""
        return _json({"models": [openapi.described(one) for one in self.registry.models.values()]})

    async def docs(self, request: Request) -> Response:
        """Show the interface as a page."""
        page = openapi.page(
            self.registry.models, str(request.base_url), keys=bool(self.settings.keys)
        )
        return Response(page, media_type="text/html", headers=PAGE_HEADERS)

    async def index(self, request: Request) -> Response:
        """Show the page to try rows by hand."""
        return FileResponse(openapi.STATIC / "index.html", media_type="text/html", headers=PAGE_HEADERS)  # fmt: skip

    async def static(self, request: Request) -> Response:
        """Give a file of the pages."""
        name = request.path_params["name"]
        if name not in STATIC_FILES:
            raise HTTPException(404)
        own = openapi.STATIC / name
        path = own if own.is_file() else PAGE_STATIC / name
        return FileResponse(path, media_type=STATIC_FILES[name], headers=PAGE_HEADERS)

    # ------------------------------------------------------------- helpers

    async def _body(self, request: Request) -> bytes:
        return await read_body(request, self.settings.max_body, self.settings.timeout)

    def _deadline(self, request: Request) -> float:
        arrived: float = request.scope["arrived"]
        return arrived + self.settings.timeout

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        """Return an endpoint that asks for the API key first, unless it is one of `OPEN`."""
        if not self.settings.keys or endpoint.__name__ in OPEN:
            return endpoint

        @functools.wraps(endpoint)
        async def guarded(request: Request) -> Response:
            self._authorise(request)
            return await endpoint(request)

        return guarded

    def _authorise(self, request: Request) -> None:
        """Check the API key.

        Raises:
            Refused: It is missing or wrong (401).
        """
        given = request.headers.get("authorization", "")
        scheme, _, key = given.partition(" ")
        if scheme.lower() != "bearer" or not self.settings.is_key(key.strip()):
            raise Refused(
                401, "Send a valid API key: Authorization: Bearer KEY.", "unauthorised", {"WWW-Authenticate": "Bearer"}
            )  # fmt: skip


def metadata(served: Served) -> dict[str, Any]:
    """Return a model's metadata in the Open Inference Protocol."""
    outputs = answers.output_shapes(served)
    return {
        "name": served.name, **({"versions": [served.version]} if served.version else {}),
        "platform": f"sightline_{served.engine}",
        "inputs": [{"name": one.name, "datatype": one.datatype, "shape": [-1, 1]} for one in served.inputs],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": shape} for name, (datatype, shape) in outputs.items()
        ],
    }  # fmt: skip


def _inferred(
    served: Served, asked: InferRequest, computed: Computed, alpha: float | None
) -> tuple[bytes, int | None]:
    wanted = answers.tensors(
        served, computed, asked.outputs, asked.binary, ALPHA if alpha is None else alpha
    )  # fmt: skip
    head = {
        "model_name": served.name, **({"model_version": served.version} if served.version else {}),
        **({"id": asked.id} if asked.id else {}),
    }  # fmt: skip
    return write(head, wanted)


def _alpha(value: Any) -> float | None:
    if value is None:
        return None
    try:
        return check_alpha(value, 0.0)
    except OptionError as error:
        raise bad(str(error)) from error


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")  # fmt: skip
    return Response(content, status, {"Content-Type": "application/json", **(headers or {})})


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    raise HTTPException(404)


def _of_http(scope: Scope, error: HTTPException) -> Refused:
    """Word what Starlette refuses: an unknown path, or a method that the path does not have."""
    headers = dict(error.headers or {})
    if error.status_code == 405:
        return Refused(405, f"{scope['path']} takes {headers.get('Allow', 'another method')}.", "method", headers)  # fmt: skip
    return Refused(error.status_code, f"There is no {scope['path']}; /docs lists what there is.", "not found", headers)  # fmt: skip


def _where() -> dict[str, str]:
    """Return the last exception's type and place: its words may quote values of rows."""
    import sys

    kind, error, _ = sys.exc_info()
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    return {
        "exception": kind.__name__ if kind else "",
        "places": listed([f"{frame.filename}:{frame.lineno}" for frame in reversed(frames)], 6),
    }  # fmt: skip
