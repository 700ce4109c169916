"""The live page's server, a real process, asked by real clients: who gets in, and what comes out."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import sightline as sl
from sightline.page import server
from sightline.page.address import Address, read_address, write_address
from sightline.page.guard import HEADERS, Hosts
from sightline.trace.records import TRACE_FILE, Trace, read_records
from tests.page.serving import Site, Tab, alive, end, place_of, served, sightline, tab, until

ROW = {"island": "Dream", "bill_length_mm": 46.5, "bill_depth_mm": 17.9, "flipper_length_mm": 192,
       "body_mass_g": 3500, "sex": None, "year": 2007}  # fmt: skip


def write(run, records):
    """Make a run of some records, and hold its lock as a process does that makes it."""
    trace = Trace()
    trace.save_to(run)
    for number in range(records):
        trace.write("train", "epoch", {"number": number, "observation": "größer 🌱"})
    return trace


@pytest.fixture
def run(tmp_path):
    """A run that is being made, by this process."""
    trace = write(tmp_path / "r", 3)
    yield tmp_path / "r"
    trace.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server of a run that this process makes, for requests that change nothing."""
    folder = tmp_path_factory.mktemp("site") / "r"
    trace = write(folder, 3)
    with served(folder) as found:
        found.run = folder
        yield found
    trace.close()


def dropped(run):
    folder = run / "commands"
    return (
        [json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))]
        if folder.is_dir()
        else []
    )


# ------------------------------------------------------------- who gets in


def test_the_page_and_its_files(site):
    status, headers, body = site.ask()
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"static/app.js" in body
    for name, kind in (("app.js", "text/javascript"), ("uplot.min.css", "text/css")):
        status, headers, body = site.ask(path=f"static/{name}")
        assert (status, headers["content-type"]) == (200, f"{kind}; charset=utf-8")
        assert body


def test_every_answer_says_what_a_browser_may_do(site):
    wrong = "/" + "x" * 22 + "/"
    asked = [("GET", None), ("GET", wrong), ("GET", site.path + "nothing"), ("PUT", None),
             ("POST", site.path + "commands"), ("OPTIONS", site.path + "commands")]  # fmt: skip
    for method, path in asked:
        status, headers, _ = site.ask(method, whole_path=path)
        lower = {name.lower(): value for name, value in headers.items()}
        for name, value in HEADERS.items():
            assert lower[name.lower()] == value, (method, path, status)
        assert not [name for name in lower if name.startswith("access-control")]
        assert "server" not in lower
    with tab(site) as open_tab:
        assert open_tab.headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert open_tab.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    "path",
    ["/", "//", "/events", "/static/app.js", "/commands", "/xyz/", "/{short}/", "/{token}", "/{token}x/",
     "/%00/", "/{swapped}/", "//{token}/", "/x/{token}/", "/%ff/", "/{token}/../"],
)  # fmt: skip
def test_without_the_token_there_is_nothing(site, path):
    token = site.path.strip("/")
    path = path.format(token=token, short=token[:-1], swapped=token.swapcase())
    status, _, body = site.ask(whole_path=path)
    assert (status, body) == (404, b"Not Found")


@pytest.mark.parametrize(
    "name",
    ["../server.py", "..%2fserver.py", "%2e%2e/server.py", "..%5cserver.py", "/etc/passwd", "//etc/passwd",
     "%2fetc%2fpasswd", "....//server.py", "app.js/..", "app.js%00", "../static/app.js", "", ".", "..",
     "APP.JS", "nothing.js", "../__init__.py", "%252e%252e/server.py"],
)  # fmt: skip
def test_no_path_leads_out_of_the_static_folder(site, name):
    if name == "APP.JS" and sys.platform != "linux":
        pytest.skip("names differ in case there")
    status, _, body = site.ask(path=f"static/{name}")
    assert (status, body) == (404, b"Not Found")


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:{port}", 200), ("localhost:{port}", 200), ("LOCALHOST:{port}", 200), ("[::1]:{port}", 200),
     ("evil.example:{port}", 403), ("evil.example", 403), ("127.0.0.1", 403), ("127.0.0.1:1", 403),
     ("localhost.evil.example:{port}", 403), ("127.0.0.1:{port}.evil.example", 403),
     ("evil.example:80@127.0.0.1:{port}", 403), ("192.168.0.1:{port}", 403), ("127.0.0.2:{port}", 403),
     ("127.1:{port}", 403), ("2130706433:{port}", 403), ("", 403), (":{port}", 403)],
)  # fmt: skip
def test_a_name_that_only_points_here_is_refused(site, host, status):
    """DNS rebinding: a foreign page whose name was made to mean this machine."""
    answered, _, body = site.ask(headers={"Host": host.format(port=site.port)})
    assert answered == status
    assert status == 200 or b"<html" not in body


def test_two_hosts_or_none_are_refused(site):
    for hosts in ("", f"Host: {site.host}:{site.port}\r\nHost: evil.example\r\n"):
        with socket.create_connection((site.host, site.port), timeout=10) as raw:
            raw.sendall(f"GET {site.path} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
            assert raw.recv(100).split()[1] in (b"400", b"403")


def test_hosts_of_a_server_that_listens_everywhere():
    hosts = Hosts("0.0.0.0", 80)
    for name in (
        "10.0.0.7:80",
        "10.0.0.7",
        "[fe80::1]:80",
        "localhost",
        f"{socket.gethostname()}:80",
    ):
        assert name in hosts, name
    for name in (
        "evil.example",
        "10.0.0.7:81",
        "10.0.0.7.evil.example:80",
        "10.0.0.7:80:80",
        "x:80",
    ):
        assert name not in hosts, name
    hosts = Hosts("Trainer.example", 8000)
    assert "trainer.EXAMPLE:8000" in hosts
    assert "10.0.0.7:8000" not in hosts


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": None}, 403), ({"Origin": "null"}, 403), ({"Origin": "http://evil.example"}, 403),
     ({"Origin": "http://127.0.0.1"}, 403), ({"Origin": "https://127.0.0.1:{port}"}, 403),
     ({"Origin": "http://127.0.0.1:{port}.evil.example"}, 403),
     ({"Origin": "http://localhost:{port}"}, 403),  # another origin than the Host
     ({"Content-Type": None}, 415), ({"Content-Type": "text/plain"}, 415),
     ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
     ({"Content-Type": "application/jsonx"}, 415)],
)  # fmt: skip
def test_commands_come_from_the_page_alone(site, headers, status):
    headers = {name: value and value.format(port=site.port) for name, value in headers.items()}
    assert site.command({"pause": True}, **headers)[0] == status
    assert dropped(site.run) == []


def test_methods_that_are_not_allowed(site):
    own = {"Origin": site.origin, "Content-Type": "application/json"}
    for method, path in (("PUT", ""), ("DELETE", "commands"), ("GET", "commands"), ("POST", "events"),
                         ("POST", ""), ("POST", "static/app.js"), ("OPTIONS", "commands"), ("PATCH", "events")):  # fmt: skip
        assert site.ask(method, path, b"{}", own)[0] == 405, (method, path)
    assert site.ask("HEAD", "events")[0] == 200
    assert dropped(site.run) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"", "not valid JSON"), (b"{", "not valid JSON"), (b"\xff", "not valid JSON"), (b"[" * 100_000, "not valid JSON"),
     (b'{"pause": NaN}', "NaN is not a JSON number"), (b"[]", "is an object, not []"), (b"{}", "has nothing"),
     (b'{"pause": true, "continue": true}', "exactly one known key"), (b'{"paus": true}', '"paus"'),
     (b'{"pause": false}', "pause is false"), (b'{"pause": 1}', "pause is 1"),
     (b'{"edits": []}', "edits is []"), (b'{"edits": {}}', "edits is {}"), (b'{"edits": ["Stop"]}', '"Stop" is no edit'),
     (b'{"edits": [{"edit": "Wider"}]}', "no edit 'Wider'; the edits are SetLearningRate"),
     (b'{"edits": [{"edit": "Widen", "name": "hidden.0", "by": 3}]}', "by"),
     (b'{"edits": [{"edit": "Stop", "why": "\\ud800"}]}', "half of a Unicode character"),
     (b'{"explain": {"row": {"a": 1}}}', "an id and a row"), (b'{"explain": {"id": 3, "row": {"a": 1}}}', "The id is 3"),
     (b'{"explain": {"id": "", "row": {"a": 1}}}', 'The id is ""'),
     (b'{"explain": {"id": "%s", "row": {"a": 1}}}' % (b"x" * 65), "1 to 64 characters"),
     (b'{"explain": {"id": "1", "row": []}}', "The row is []"), (b'{"explain": {"id": "1", "row": {}}}', "The row is {}"),
     (b'{"explain": {"id": "1", "row": {"a": [1]}}}', '"a" is [1]'),
     (b'{"explain": {"id": "1", "row": {"a": 1}, "more": 2}}', "an id and a row")],
)  # fmt: skip
def test_a_command_that_is_none_is_refused_at_the_door(site, body, said):
    status, answer = site.command(body)
    assert status == 400
    assert said in answer["error"]
    assert dropped(site.run) == []


def test_a_command_may_be_one_megabyte_long(run):
    with served(run) as site:
        row = {"explain": {"id": "1", "row": {"a": ""}}}
        row["explain"]["row"]["a"] = "x" * ((1 << 20) - len(json.dumps(row)))
        assert site.command(row)[0] == 202
        row["explain"]["row"]["a"] += "x"
        assert site.command(row) == (413, {"error": "The command is larger than 1 MB."})
        # ... and one that does not say how long it is
        with socket.create_connection((site.host, site.port), timeout=20) as raw:
            raw.sendall(
                f"POST {site.path}commands HTTP/1.1\r\nHost: {site.host}:{site.port}\r\nOrigin: {site.origin}\r\n"
                "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            )
            for _ in range(20):
                try:
                    raw.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                except OSError:  # it has hung up
                    break
            assert raw.recv(100).startswith(b"HTTP/1.1 413")
        assert dropped(run) == [
            {"explain": {"id": "1", "row": {"a": "x" * (len(row["explain"]["row"]["a"]) - 1)}}}
        ]


def test_a_head_that_is_too_long_ends_its_connection(site):
    with socket.create_connection((site.host, site.port), timeout=10) as raw:
        raw.sendall(f"GET {site.path} HTTP/1.1\r\nX: {'x' * 100_000}".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 4")
    assert site.ask()[0] == 200


def test_what_is_accepted_is_dropped_as_it_came(run):
    commands = [{"edits": [{"edit": "Widen", "name": "hidden.0", "width": 9}]}, {"pause": True}, {"continue": True},
                {"one_epoch": True}, {"explain": {"id": "größer", "row": {"a": None, "b": 1.5}}}]  # fmt: skip
    with served(run) as site:
        names = []
        for command in commands:
            status, answer = site.command(command)
            assert status == 202
            names.append(answer["accepted"])
    assert sorted(path.name for path in (run / "commands").iterdir()) == names
    assert dropped(run) == commands


def test_who_may_read_where_the_page_is(run):
    with served(run) as site:
        found, said = place_of(run)
        assert found.address == site.address
        assert said["pid"] == site.process.pid
        if os.name != "nt":
            assert (run / "live.json").stat().st_mode & 0o777 == 0o600
    assert len(said["token"]) >= 22


def test_a_place_that_others_could_read_is_not_taken_again(tmp_path):
    write_address(tmp_path, Address("127.0.0.1", 8000, "a" * 22, 1))
    assert read_address(tmp_path).port == 8000
    if os.name != "nt":
        (tmp_path / "live.json").chmod(0o644)
        assert read_address(tmp_path) is None
    for text in ("", "{", "[]", '{"host": "h", "port": 1, "token": "%s", "pid": -1}' % ("a" * 22), '{"port": 1}', '{"host": "h", "port": 0, "token": "%s", "pid": 1}' % ("a" * 22),
                 '{"host": "h", "port": 1, "token": "../x", "pid": 1}', '{"host": 3, "port": 1, "token": "%s", "pid": 1}' % ("a" * 22)):  # fmt: skip
        (tmp_path / "live.json").unlink()
        handle = os.open(tmp_path / "live.json", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        assert read_address(tmp_path) is None, text


# ------------------------------------------------------------- what comes out


def test_the_records_of_the_file_and_those_to_come(run):
    with served(run) as site, tab(site) as first:
        first.until(lambda found: len(found.records) == 3)
        assert first.states == [{"training": True, "paused": False, "waiting": False, "run": "r"}]
        assert first.records == [
            json.loads(line) for line in (run / TRACE_FILE).read_bytes().splitlines()
        ]
        middle = first.last
        with (run / TRACE_FILE).open("ab") as file:
            line = json.dumps({**first.records[2], "seq": 3}).encode() + b"\n"
            file.write(line[:9])
            file.flush()
            time.sleep(0.3)
            assert len(first.records) == 3
            file.write(line[9:])
        first.until(lambda found: len(found.records) == 4)
        for last, query, count in ((middle, "", 1), (None, f"?from={middle}", 1), (None, "", 4), ("7", "", 4),
                                   (str(10**30), "", 4), ("-1", "", 4), ("x", "", 4), ("\u00b2".encode().decode("latin-1"), "", 4)):  # fmt: skip
            with tab(site, last, query) as again:
                again.until(lambda found: found.records)
                assert again.records == first.records[-count:], (last, query)
                assert again.last == first.last


def test_a_damaged_line_is_told_of(run):
    with served(run) as site, tab(site) as found:
        found.until(lambda tab: len(tab.records) == 3)
        with (run / TRACE_FILE).open("ab") as file:
            file.write(b'{"v": 1, oops}\n')
        found.until(lambda tab: tab.trouble)
        assert "is damaged" in found.trouble[0]
        assert str(run) in found.trouble[0]


def test_at_most_twenty_messages_a_second(tmp_path):
    trace = write(tmp_path / "r", 0)
    with served(tmp_path / "r") as site, tab(site) as found:
        found.until(lambda tab: tab.states)
        began = time.monotonic()
        for number in range(1000):
            trace.write("train", "epoch", {"number": number})
            time.sleep(max(0.0, began + (number + 1) * 0.002 - time.monotonic()))
        seconds = time.monotonic() - began
        found.until(lambda tab: len(tab.records) == 1000)
        trace.close()
    assert [record["seq"] for record in found.records] == list(range(1000))
    assert 2 <= len(found.times) <= 20 * (seconds + 1)


def peak(process):
    """The most memory that a process has had, in MB."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        pytest.skip("the memory of a process is asked of /proc")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def test_a_client_that_does_not_read_hinders_nobody(tmp_path):
    trace = write(tmp_path / "r", 0)
    with served(tmp_path / "r") as site:
        before = peak(site.process)
        stuck = [Tab(site) for _ in range(10)]
        for number in range(2000):
            trace.write("train", "epoch", {"number": number, "filling": "x" * 10_000})
        with tab(site) as reader:
            reader.until(lambda found: len(found.records) == 2000)
            trace.write("train", "epoch", {"number": 2000})
            reader.until(lambda found: len(found.records) == 2001)
        assert (
            peak(site.process) < before + 100
        )  # the file is 20 MB, and ten times that are waited for
        stuck[0].until(
            lambda found: len(found.records) == 2001
        )  # who reads on at last misses nothing
        for slow in stuck:
            slow.close()
    trace.close()


def test_a_tab_finds_the_page_again_after_a_restart(run):
    with served(run) as site, tab(site) as before:
        before.until(lambda found: len(found.records) == 3)
        place_of(run)
        end(site.process)
        assert before.next() is None or before.next() is None
    with served(run) as again:
        assert again.address == site.address
        trace = run / TRACE_FILE
        line = json.dumps({**before.records[0], "seq": 3}) + "\n"
        with trace.open("a") as file:
            file.write(line)
        with tab(again, before.last) as after:
            after.until(lambda found: found.records)
            assert [record["seq"] for record in after.records] == [3]
    with socket.socket() as other:  # the port is taken: another, and another secret
        if os.name != "nt":  # the connections of before linger there
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", site.port))
        other.listen()
        with served(run) as third:
            assert third.port != site.port
            assert third.path != site.path


def test_ctrl_c_ends_it_with_open_tabs(run):
    with served(run) as site, tab(site) as found:
        found.until(lambda tab: tab.records)
        began = time.monotonic()
        site.process.send_signal(signal.SIGINT)
        assert site.process.wait(20) == 0
        assert time.monotonic() - began < 10


def test_a_port_of_your_own(run):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with served(run, "--port", port) as site:
        assert site.port == port
        process = sightline("live", run, "--port", port, stderr=subprocess.PIPE, text=True)
        with process.stderr:
            said = process.stderr.read()
        assert process.wait(20) == 2
        assert f"cannot be served at 127.0.0.1, port {port}: Address already in use" in said


# ------------------------------------------------------------- a real run


def fit(folder):
    """Start a fit that goes on until it is stopped, with its page.

    It prints into a file: nobody reads a pipe while it trains, and a full one would hold it up.
    """
    with (folder / "fit.txt").open("w") as file:
        return sightline(
            "fit", folder / "penguins.csv", "--target", "species", "--network", "MLP", "--epochs", "1000000", "--patience",
            "1000000", "--run", folder / "r", "--live", stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip


@pytest.fixture
def fitting(tmp_path, penguins):
    """A fit in a process of its own, and its page."""
    shutil.copy(penguins, tmp_path / "penguins.csv")
    process, said = fit(tmp_path), None
    try:
        site, said = place_of(tmp_path / "r")
        site.process, site.run, site.pid = process, tmp_path / "r", said["pid"]
        yield site
    finally:
        end(process)
        if said is not None and alive(said["pid"]):
            os.kill(said["pid"], signal.SIGKILL)


def test_a_run_is_paused_edited_asked_continued_and_stopped_from_its_page(fitting):
    with tab(fitting) as page:
        page.wait_for("train", "epoch", 3)
        assert fitting.command({"pause": True})[0] == 202
        paused = page.wait_for("train", "paused")
        page.until(lambda found: found.states[-1]["paused"])
        assert set(paused) == {"step", "epoch", "said"}
        # asked while it is paused, twice the right way and twice not
        rows = [ROW, {**ROW, "bill_length_mm": 30}, {"island": "Dream"}, {**ROW, "year": "soon"},
                {**ROW, "year": 10**400}]  # fmt: skip
        for number, row in enumerate(rows):
            assert fitting.command({"explain": {"id": str(number), "row": row}})[0] == 202
        page.wait_for("predict", "asked", 5)
        asked = page.found("predict", "asked")
        assert [body["id"] for body in asked] == ["0", "1", "2", "3", "4"]
        assert [body["row"] for body in asked] == rows
        assert [body["error"] is None for body in asked] == [True, True, False, False, False]
        assert [body["explanation"] is None for body in asked] == [False, False, True, True, True]
        assert asked[0]["explanation"]["prediction"] in ("Adelie", "Chinstrap", "Gentoo")
        assert "bill_length_mm" in asked[2]["error"]
        assert "year" in asked[3]["error"]
        assert {body["step"] for body in asked} == {paused["step"]}
        # an edit waits; one that cannot be used is told of at once
        assert fitting.command({"edits": [{"edit": "SetLearningRate", "value": 0.5}]})[0] == 202
        assert (
            fitting.command({"edits": [{"edit": "Widen", "name": "hidden.9", "width": 99}]})[0]
            == 202
        )
        assert "Did you mean" in page.wait_for("train", "refused")["said"]
        assert page.found("train", "edit") == []
        # one epoch, to its end and no further
        assert fitting.command({"one_epoch": True})[0] == 202
        page.wait_for("train", "paused", 2)
        first, second = page.found("train", "paused")
        (going,) = page.found("train", "continued")
        (edit,) = page.found("train", "edit")
        assert going["step"] == edit["step"] == first["step"]
        per_epoch = page.found("train", "plan")[-1]["steps_per_epoch"]
        assert second["step"] % per_epoch == 0
        assert 0 < second["step"] - first["step"] <= per_epoch
        assert page.found("train", "epoch")[-1]["number"] == second["step"] // per_epoch
        # on, and to the end
        assert fitting.command({"continue": True})[0] == 202
        page.wait_for("train", "continued", 2)
        page.until(lambda found: not found.states[-1]["paused"])
        assert fitting.command({"pause": True})[0] == 202
        page.wait_for("train", "paused", 3)
        assert (
            fitting.command({"edits": [{"edit": "Stop", "why": "stopped"}]})[0] == 202
        )  # goes on by itself
        page.wait_for("run", "end")
        page.until(lambda found: not found.states[-1]["training"])
        assert len(page.found("train", "continued")) == 3
        assert fitting.process.wait(60) == 0
        # over: nobody pauses, but rows are still explained, and recorded
        status, answer = fitting.command({"pause": True})
        assert (status, answer["error"]) == (
            409,
            "This run is not training: it has ended, or was interrupted.",
        )
        assert fitting.command({"explain": {"id": "later", "row": ROW}}) == (
            202,
            {"accepted": "later"},
        )
        assert page.wait_for("predict", "asked", 6)["id"] == "later"
        assert fitting.command({"explain": {"id": "worse", "row": {"year": 1}}})[0] == 202
        assert "has no column" in page.wait_for("predict", "asked", 7)["error"]
    records, notes = read_records(fitting.run)
    assert notes == []
    assert [record.seq for record in records] == list(range(len(records)))
    assert [r["seq"] for r in page.records] == [r.seq for r in records]
    made = sl.Run(fitting.run)
    assert (
        made.model.explain(ROW).prediction
        == page.found("predict", "asked")[5]["explanation"]["prediction"]
    )
    assert sl.resume(fitting.run, quiet=True).metrics == made.metrics  # complete still


def test_a_fit_that_is_killed_and_gone_on_with(fitting):
    with tab(fitting) as page:
        page.wait_for("train", "epoch", 3)
        fitting.command({"pause": True})
        page.wait_for("train", "paused")
        page.until(lambda found: found.states[-1]["paused"])
        end(fitting.process)  # kill -9
        page.until(lambda found: not found.states[-1]["training"])
        assert page.states[-1] == {"training": False, "paused": False, "waiting": False, "run": "r"}
        assert fitting.command({"edits": [{"edit": "Stop"}]})[0] == 409
        status, answer = fitting.command({"explain": {"id": "1", "row": ROW}})
        assert status == 409
        assert f"sightline resume {fitting.run}" in answer["error"]
        # Into a file: nobody reads a pipe while it trains, and a full one would hold it up.
        printed = fitting.run.parent / "printed.txt"
        with printed.open("w") as file:
            resumed = sightline("resume", fitting.run, "--live", stdout=file)
        try:
            page.until(lambda found: found.records[-1]["attempt"] == 2)  # the same page goes on
            page.until(
                lambda found: found.states[-1]["training"] and not found.states[-1]["paused"]
            )
            page.wait_for("train", "epoch", len(page.found("train", "epoch")) + 2)
            assert place_of(fitting.run)[0].address == fitting.address
            assert fitting.command({"edits": [{"edit": "Stop"}]})[0] == 202
            page.wait_for("run", "end")
            assert resumed.wait(60) == 0
            assert f"Live page: {fitting.address}" in printed.read_text("utf-8")
        finally:
            end(resumed)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_paused_fit_is_interrupted_and_resumed(fitting, how):
    with tab(fitting) as page:
        page.wait_for("train", "epoch", 3)
        fitting.command({"pause": True})
        step = page.wait_for("train", "paused")["step"]
        fitting.process.send_signal(how)
        assert fitting.process.wait(60) == 128 + how
        said = (fitting.run.parent / "fit.txt").read_text("utf-8")
        assert f"Interrupted after step {step:,}; a checkpoint is written." in said
        page.until(lambda found: not found.states[-1]["training"])
        assert alive(fitting.pid)  # the page was not interrupted with it


def test_a_fit_that_is_refused_leaves_no_page(tmp_path, penguins):
    shutil.copy(penguins, tmp_path / "penguins.csv")
    process = sightline("fit", tmp_path / "penguins.csv", "--target", "specie", "--network", "MLP", "--run", tmp_path / "r", "--live",
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Did you mean 'species'?" in err
    assert not (tmp_path / "r").exists()
    listed = subprocess.run(
        ["ps", "-eo", "args"], capture_output=True, text=True, check=True
    ).stdout
    assert str(tmp_path / "r") not in listed


def test_the_page_of_a_fit_ends_when_it_is_over_and_nobody_looks(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.3)
    trace, addresses = write(tmp_path / "r", 3), []
    serving = threading.Thread(
        target=server.serve,
        args=(tmp_path / "r",),
        kwargs={"of_fit": os.getpid(), "ready": addresses.append},
        daemon=True,
    )
    serving.start()
    until(lambda: addresses)
    time.sleep(2.2)
    assert serving.is_alive()  # nobody looks, but the run is being made
    with tab(Site(addresses[0])) as page:
        page.until(lambda found: found.records)
        trace.close()
        page.until(lambda found: not found.states[-1]["training"])
        time.sleep(2.2)
        assert serving.is_alive()  # it is over, but somebody looks
    serving.join(20)
    assert not serving.is_alive()


def test_a_page_whose_fit_is_gone_before_there_was_a_folder_ends(tmp_path):
    process = sightline("live", tmp_path / "r", "--of-fit", 1, stdout=subprocess.PIPE, text=True)
    try:
        assert json.loads(process.stdout.readline())["address"].startswith("http://127.0.0.1:")
        assert process.wait(20) == 0
    finally:
        end(process)
