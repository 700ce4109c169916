"""Requests of one row over HTTP on loopback: the server on one core, the client on the other, beside its peers.

    apt-get install wrk
    python -m pip install -e ".[onnx,serve]" fastapi litserve
    python -m venv mlserver && mlserver/bin/pip install mlserver onnxruntime  # its protobuf is older than ours
    python -m benchmarks.serve TABLE.csv[.gz] TARGET [--seconds 10] [--repeats 3] [--mlserver mlserver/bin/python] [--name serve]

Every side serves the default model of the table to `POST /predict` with one row as JSON: `sightline serve` with ONNX Runtime and
with PyTorch; a FastAPI endpoint by hand and LitServe, each with PyTorch (`Model.predict_proba` of a DataFrame of one row, as its
documentation shows) and with the same ONNX file (a session whose inputs are made of the row by hand); MLServer with a runtime
that computes the same ONNX file, asked by the Open Inference Protocol, since it has no other. A side runs alone on core 0, the client on
core 1, in turns.

Throughput is that of wrk with 32 connections. Latency is measured with an open loop at half that throughput: requests have fixed
times at which they are sent, and latency counts from that time, so that a server that stalls is seen to. The floor is an asyncio server that reads a request and writes two bytes: what the machine and the
client take alone.

Targets: 2,500 requests a second, p99 below 10 ms at half of it, twice the throughput of the peers with PyTorch.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import sightline as sl
from benchmarks.common import save

PORT = 8437
FLOOR = "floor: asyncio alone, at 1,250 a second"
PREDICT, INFER = "/predict", "/v2/models/m/infer"
LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local rows, i = {}, 0
for line in io.lines("BODIES") do rows[#rows + 1] = line end
request = function()
  i = i % #rows + 1
  return wrk.format(nil, nil, nil, rows[i])
end
"""
MODEL = """
import json, sys
import numpy as np
engine, path = ENGINE, PATH
if engine == "torch":
    import pandas as pd, torch
    import sightline as sl
    torch.set_num_threads(1)
    model = sl.Model.load(path)
    def predict(row):
        return model.predict_proba(pd.DataFrame([row]))[0].tolist()
else:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    kinds = {one.name: one.type for one in session.get_inputs()}
    names = ["probabilities"]
    def predict(row):
        inputs = {
            name: np.array([[row[name] or ""]], object) if kind == "tensor(string)"
            else np.array([[np.nan if row[name] is None else row[name]]], float)
            for name, kind in kinds.items()
        }
        return session.run(names, inputs)[0][0].tolist()
"""
FASTAPI = (
    MODEL
    + """
from fastapi import FastAPI
import uvicorn
app = FastAPI()
@app.post("/predict")
def answer(body: dict):
    return {"probabilities": predict(body["rows"][0])}
@app.get("/ready")
def ready():
    return {}
uvicorn.run(app, port=PORT, log_level="error", access_log=False)
"""
)
LITSERVE = (
    MODEL
    + """
import litserve
class API(litserve.LitAPI):
    def setup(self, device):
        pass
    def decode_request(self, request):
        return request["rows"][0]
    def predict(self, row):
        return predict(row)
    def encode_response(self, output):
        return {"probabilities": output}
if __name__ == "__main__":
    litserve.LitServer(API(), accelerator="cpu", workers_per_device=1).run(
        port=PORT, log_level="error", generate_client_file=False)
"""
)

MLSERVER = """
import onnxruntime
from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec
import numpy as np
class Runtime(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(PATH, options)
        return True
    async def predict(self, payload):
        inputs = {
            one.name: np.array(one.data.root, object if one.datatype == "BYTES" else float).reshape(one.shape)
            for one in payload.inputs
        }
        values = self.session.run(["probabilities"], inputs)[0]
        return types.InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("probabilities", values)])
"""
ECHO = """
import asyncio
async def answer(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            size = [int(line[15:]) for line in head.lower().split(b"\\r\\n") if line.startswith(b"content-length:")]
            await reader.readexactly(size[0])
            writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n{}")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", PORT)
    await server.serve_forever()
asyncio.run(main())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--mlserver", metavar="PYTHON", help="the Python of an environment with mlserver"
    )
    parser.add_argument("--name", default="serve")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        save(options.name, measure(Path(folder), options))


@dataclass(frozen=True)
class Side:
    """A server: its command, the path that predicts, and the bodies of requests of one row."""

    command: list[str]
    path: str
    bodies: list[str]


def measure(folder: Path, options: Any) -> dict[str, Any]:
    run = sl.fit(options.table, options.target, run=folder / "run", quiet=True, report=False)
    run.model.save(folder / "m.sightline", onnx=True)
    run.model.to_onnx(folder / "m.onnx")
    table = sl.read(options.table)
    columns = run.model.encoder.schema.features
    rows = [{one.name: table.cells(one.name, i) for one in columns} for i in range(2000)]
    bodies = [json.dumps({"rows": [row]}) for row in rows]
    sides = {
        f"sightline, {label}": Side(ours(folder, engine), PREDICT, bodies)
        for label, engine in (("ONNX", "onnx"), ("PyTorch", "torch"))
    }  # fmt: skip
    for name, script in (("FastAPI", FASTAPI), ("LitServe", LITSERVE)):
        for engine, file in (("torch", "m.sightline"), ("onnx", "m.onnx")):
            path = folder / f"{name}_{engine}.py"
            path.write_text(
                script.replace("ENGINE", repr(engine)).replace("PATH", repr(str(folder / file))).replace("PORT", str(PORT)),
                encoding="utf-8",
            )  # fmt: skip
            label = f"{name}, {'PyTorch' if engine == 'torch' else 'ONNX'}"
            sides[label] = Side([sys.executable, str(path)], PREDICT, bodies)
    if options.mlserver:
        sides["MLServer, ONNX"] = mlserver(folder, options.mlserver, rows)
    (folder / "echo.py").write_text(ECHO.replace("PORT", str(PORT)), encoding="utf-8")
    sides[FLOOR] = Side([sys.executable, str(folder / "echo.py")], PREDICT, bodies)
    found: dict[str, dict[str, list[float]]] = {
        name: {"requests_a_second": [], "p50_ms": [], "p99_ms": []} for name in sides
    }
    for _ in range(options.repeats):
        for name, side in sides.items():
            with serving(side, folder):
                throughput = wrk(side, folder, options.seconds)
                rate = 1250 if name == FLOOR else throughput / 2
                latency = open_loop(side, rate, options.seconds)
            for key, value in zip(found[name], (throughput, *latency), strict=True):
                found[name][key].append(value)
            print(name, round(throughput), [round(one, 2) for one in latency], flush=True)
    medians = {
        name: {key: statistics.median(values) for key, values in one.items()} for name, one in found.items()
    }  # fmt: skip
    best = medians["sightline, ONNX"]["requests_a_second"]
    return {
        "table": Path(options.table).name, "columns": len(columns), "connections": 32, "seconds": options.seconds,
        "medians": medians, "rounds": found,
        "times_as_many_requests": {
            name: best / one["requests_a_second"] for name, one in medians.items() if "sightline" not in name and name != FLOOR
        },
    }  # fmt: skip


def ours(folder: Path, engine: str) -> list[str]:
    return [sys.executable, "-m", "sightline", "serve", str(folder / "m.sightline"), "--engine", engine,
            "--port", str(PORT), "--drain", "0", "--quiet"]  # fmt: skip


def mlserver(folder: Path, python: str, rows: list[dict[str, Any]]) -> Side:
    """Write what MLServer needs: one process, its settings, a runtime."""
    place = folder / "mlserver"
    place.mkdir()
    runtime = MLSERVER.replace("PATH", repr(str(folder / "m.onnx")))
    (place / "runtime.py").write_text(runtime, encoding="utf-8")
    settings = {
        "host": "127.0.0.1", "http_port": PORT, "grpc_port": PORT + 1, "metrics_port": PORT + 2, "parallel_workers": 0,
        "debug": False, "access_log": False,
    }  # fmt: skip
    (place / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    model = {"name": "m", "implementation": "runtime.Runtime"}
    (place / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    bodies = []
    for row in rows:
        inputs = [
            {"name": name, "shape": [1, 1], "datatype": "BYTES", "data": [value or ""]}
            if isinstance(value, str | None)
            else {"name": name, "shape": [1, 1], "datatype": "FP64", "data": [value]}
            for name, value in row.items()
        ]
        bodies.append(json.dumps({"inputs": inputs}))
    command = [str(Path(python).absolute().parent / "mlserver"), "start", str(place)]
    return Side(command, INFER, bodies)


@contextlib.contextmanager
def serving(side: Side, folder: Path) -> Iterator[None]:
    """Run a server on core 0 until the block ends."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        ["taskset", "-c", "0", *side.command], cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        body, head = side.bodies[0].encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}{side.path}", body, head)
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(request, timeout=5).read()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.2)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with contextlib.suppress(ProcessLookupError):  # children that outlived it
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.5)


def wrk(side: Side, folder: Path, seconds: int) -> float:
    """Return the requests a second of 32 connections that ask without pause."""
    (folder / "bodies").write_text("\n".join(side.bodies), encoding="utf-8")
    script = folder / "post.lua"
    script.write_text(LUA.replace("BODIES", str(folder / "bodies")), encoding="utf-8")
    address = f"http://127.0.0.1:{PORT}{side.path}"
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(script), address]  # fmt: skip
    subprocess.run([*command[:-4], "-d2s", *command[-3:]], capture_output=True, check=False)
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise RuntimeError(said)
    (rate,) = re.findall(r"Requests/sec:\s+([\d.]+)", said)
    return float(rate)


def open_loop(side: Side, rate: float, seconds: int) -> tuple[float, float]:
    """Send requests at fixed times on 32 connections; return p50 and p99 in ms, counted from those times."""
    script = f"""
import asyncio, json, sys
sys.path.insert(0, {os.getcwd()!r})
from benchmarks.serve import clients
print(json.dumps(asyncio.run(clients({side.path!r}, json.loads(sys.stdin.read()), {rate!r}, {seconds}))))
"""
    said = subprocess.run(
        ["taskset", "-c", "1", sys.executable, "-c", script], input=json.dumps(side.bodies[:500]), capture_output=True,
        text=True, check=True,
    ).stdout  # fmt: skip
    latencies = np.array(json.loads(said.splitlines()[-1]))
    return float(np.quantile(latencies, 0.5)), float(np.quantile(latencies, 0.99))


async def clients(
    path: str, bodies: list[str], rate: float, seconds: int, connections: int = 32
) -> list[float]:
    """Ask from several connections; the requests of all of them are `rate` a second."""
    heads = [
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}".encode()
        for body in bodies
    ]
    latencies: list[float] = []
    start = time.perf_counter() + 0.2
    count = int(rate * seconds)

    async def client(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        for number in range(first, count, connections):
            due = start + number / rate
            pause = due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            writer.write(heads[number % len(heads)])
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
            await reader.readexactly(size)
            latencies.append(1000 * (time.perf_counter() - due))
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
        writer.close()

    await asyncio.gather(*(client(first) for first in range(connections)))
    return latencies


if __name__ == "__main__":
    main()
