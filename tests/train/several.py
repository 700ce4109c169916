"""Processes that train together, forked from the test: they need not import PyTorch again."""

import multiprocessing
import os
import socket
import traceback
import warnings

from sightline.train.processes import joined

SECONDS = 60


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(size, work, run="runs/together"):
    """Start processes that call `work(rank)` together; return them, and the pipes of what they return."""
    fork, port = multiprocessing.get_context("fork"), free_port()
    environment = {
        "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)
    }  # fmt: skip
    processes, pipes = [], []
    for rank in range(size):
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(
            target=_begin, args=(theirs, {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}, work, run)
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork, with threads
            process.start()
        theirs.close()
        processes.append(process)
        pipes.append(ours)
    return processes, pipes


def together(size, work, run="runs/together"):
    """Call `work(rank)` in processes that train together; return their results in order of rank.

    An error comes back as itself.
    """
    processes, pipes = started(size, work, run)
    try:
        return [received(pipe) for pipe in pipes]
    finally:
        for process in processes:
            process.join(SECONDS)
            process.kill()


def received(pipe):
    """Return what a process has returned; processes that wait for each other are a failure."""
    assert pipe.poll(SECONDS), "a process does not end"
    return pipe.recv()


def _begin(pipe, environment, work, run):
    os.environ.update(environment)
    try:
        with joined(run):
            result = work(int(environment["RANK"]))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the test looks at it
        traceback.print_exc()
        result = error
    pipe.send(result)
