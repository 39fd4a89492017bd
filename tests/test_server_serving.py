"""The server as a process: its command, its link, signals, restarts, backups, figures."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from served_project import OURS, PASSWORD, client_of, served, write_project
from source_tree import REPOSITORY

from agglomeration.database import open_database
from commands import proofread
from proofreading.migrations import bring_up_to_date
from proofreading.server import accounts, backup
from proofreading.server.guards import forwarded, is_loopback, known_hosts, trusted
from proofreading.server.limits import Rate, RateLimiter
from proofreading.tables import METADATA


@contextlib.contextmanager
def running(config: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A server: its process, address and token."""
    program = "import sys; from commands import proofread; sys.exit(proofread.run(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "serve", "--config", str(config), "--nomeshes", *more]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"open (http://127\.0\.0\.1:\d+)/#token=(\S+)\n", line)
        assert found, line + process.stderr.read()
        yield process, found[1], found[2]
    finally:
        process.kill()
        process.communicate()


def logged_in(address: str, token: str) -> httpx.Client:
    client = httpx.Client(base_url=address, headers=OURS, timeout=30)
    answer = client.post("/api/session", json={"token": token})
    assert answer.json()["role"] == "admin"
    return client


@pytest.mark.slow
def test_a_server_from_its_link_to_its_end_and_again(tmp_path: Path) -> None:
    config = write_project(tmp_path)
    with running(config) as (process, address, token):
        client = logged_in(address, token)
        task, other = client.post("/api/tasks/next?n=2&kinds=join").json()["tasks"]
        body = {"lease": task["lease"], "verdict": "accept", "versions": task["versions"], "key": "answer-1"}
        done = client.post(f"/api/tasks/{task['id']}/answer", json=body)
        assert done.json()["edit"] == "1"
        assert is_second_refused(config)
        assert ten_gigabytes(address, client) == 413
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    port = address.rpartition(":")[2]
    with running(config, "--port", port) as (process, address, fresh):
        assert client.get("/api/me").status_code == 200, "a session lasts longer than a server"
        again = client.post(f"/api/tasks/{task['id']}/answer", json=body)
        assert again.json()["edit"] == "1", "an answer whose receipt was lost counts once"
        held = {"lease": other["lease"]}
        assert client.post(f"/api/tasks/{other['id']}/heartbeat", json=held).status_code == 200
        assert client.post("/api/session", json={"token": token}).status_code == 401
        assert client.post("/api/session", json={"token": fresh}).status_code == 200
        assert client.get("/metrics").text.count("proofread_last_edit 1") == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    lines = [json.loads(line) for line in (tmp_path / "out/proofreading/server.log").read_text().splitlines()]
    refused = [line for line in lines if line.get("status") == 413]
    assert len(refused) == 1 and "larger than" in refused[0]["refused"]
    assert token not in (tmp_path / "out/proofreading/server.log").read_text()


@pytest.mark.slow
def test_a_server_that_is_told_to_end_amid_traffic_finishes_and_loses_nothing(tmp_path: Path) -> None:
    config = write_project(tmp_path)
    with open_database(tmp_path / "out/decisions.sqlite") as database:
        bring_up_to_date(database)
        for number in range(4):
            accounts.add_person(database, f"worker{number}", "proofread", PASSWORD)
    sent: dict[str, str] = {}
    refused: list[int] = []

    def change(client: httpx.Client, path: str, key: str, **body: str) -> str:
        """The number of the edit; empty where it was refused. Keys without an answer stay in `sent`."""
        sent[key] = ""
        found = client.post(path, json={**body, "key": key})
        if found.status_code == 200:
            sent[key] = str(found.json()["id"])
        elif found.status_code in (409, 429):
            del sent[key]
            time.sleep(0.01)
        else:
            refused.append(found.status_code)
        return sent.get(key, "")

    def work(address: str, person: str) -> None:
        """Joins two neurons and parts them, without a pause, until the server is gone."""
        with httpx.Client(base_url=address, headers=OURS, timeout=30) as client:
            client.post("/api/session", json={"name": person, "password": PASSWORD})
            with contextlib.suppress(httpx.TransportError):
                for turn in itertools.count():
                    key = f"{person}-{turn:06d}"
                    edit = change(client, "/api/edits/merge", key, a="3", b="4")
                    if edit:
                        change(client, f"/api/edits/{edit}/undo", f"{key}-undo")

    with running(config) as (process, address, token):
        (task,) = logged_in(address, token).post("/api/tasks/next?kinds=join").json()["tasks"]
        people = [threading.Thread(target=work, args=(address, f"worker{n}")) for n in range(4)]
        for each in people:
            each.start()
        wait_until(lambda: len(sent) > 60)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0 and time.monotonic() - begun < 20
        for each in people:
            each.join()
        assert process.stderr is not None and "Traceback" not in process.stderr.read()
    assert refused == []
    with sqlite3.connect(tmp_path / "out/decisions.sqlite") as copy:
        log = dict(copy.execute("SELECT client_key, id FROM edits"))
    acknowledged = {key: int(edit) for key, edit in sent.items() if edit}
    assert len(acknowledged) > 20 and acknowledged.items() <= log.items(), "all that was answered is there"
    assert set(log) <= set(sent), "and nothing else"
    with running(config, "--port", address.rpartition(":")[2]) as (process, address, token):
        again = logged_in(address, token)
        body = {"lease": task["lease"], "verdict": "unknown", "key": "answer-after", "versions": {}}
        kept = again.post(f"/api/tasks/{task['id']}/answer", json=body)
        assert kept.status_code == 200, "leases outlive the server"


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_second_refused(config: Path) -> bool:
    program = "import sys; from commands import proofread; sys.exit(proofread.run(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "serve", "--config", str(config)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.returncode == 2 and "another run works" in done.stderr


def ten_gigabytes(address: str, client: httpx.Client) -> int:
    """Sends a body without saying how long it is, until the server has had enough; the status it answers."""
    host, _, port = address.removeprefix("http://").partition(":")
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    head = (
        f"POST /api/edits/merge HTTP/1.1\r\nHost: {host}:{port}\r\nX-Requested-By: proofread\r\n"
        f"Cookie: {cookie}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        with contextlib.suppress(ConnectionError):
            for sent in range(10 * 1024):
                assert sent < 1024, "a gigabyte was taken"
                connection.sendall(piece)
        return int(connection.recv(64).split()[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no subcommand is given"),
        (["cat"], "'cat' is no subcommand"),
        (["serve"], "serve needs --config"),
        (["serve", "--config", "c.textproto", "--port", "70000"], "port"),
        (["user", "--config", "c.textproto"], "user needs one of"),
        (["user", "add", "--config", "c.textproto"], "needs --name"),
        (["user", "add", "--config", "c.textproto", "--name", "ann"], "needs --role"),
        (["user", "change", "--config", "c.textproto", "--name", "ann"], "user change needs"),
        (["serve", "--config", "c.textproto", "--trusted_proxy", "proxy"], "trusted_proxy"),
        (["restore", "--config", "c.textproto"], "restore needs --config and --backup"),
        (["user", "token", "--config", "c.textproto", "--name", "ann"], "there is no person 'ann'"),
        (["backup"], "backup needs --config"),
        (["simulate"], "simulate needs --config"),
        (["simulate", "--config", "c.textproto", "--order", "cat"], "order"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert proofread.run(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_help_names_the_subcommands(capsys: pytest.CaptureFixture[str]) -> None:
    assert proofread.run(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"proofread {name} " in printed for name in ("serve", "user", "backup", "export", "simulate"))
    assert proofread.run(["serve", "--help"]) == 0
    assert "--allowed_host" in capsys.readouterr().out


def test_the_command_loads_no_server_until_it_serves() -> None:
    program = (
        "import sys; from commands import proofread\n"
        "print(sorted({'fastapi', 'uvicorn', 'sqlalchemy', 'tensorflow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in ("[]", "['numpy']")


def test_people_are_added_changed_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("password").write_text(f"{PASSWORD}\n")

    def user(*arguments: str) -> str:
        assert proofread.run(["user", *arguments, "--config", "c.textproto"]) == 0
        return capsys.readouterr().out.strip()

    user("add", "--name", "ann", "--role", "read", "--password_file", "password")
    assert user("list") == "ann  read"
    user("change", "--name", "ann", "--role", "proofread")
    token = user("token", "--name", "ann")
    with open_database("out/decisions.sqlite") as database:
        assert accounts.check_token(database, token) == ("ann", "proofread")
        assert accounts.check_password(database, "ann", PASSWORD) == ("ann", "proofread")
    with sqlite3.connect("out/decisions.sqlite") as connection:
        kept = json.dumps(connection.execute("SELECT * FROM proofread_persons").fetchall())
    assert PASSWORD not in kept and token.rpartition(":")[2] not in kept
    user("remove", "--name", "ann")
    assert user("list") == ""


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, "a/b", "a\nb"])
def test_a_name_that_is_none(name: str, tmp_path: Path) -> None:
    with open_database(tmp_path / "d.sqlite") as database:
        bring_up_to_date(database)
        with pytest.raises(Exception, match="is no name"):
            accounts.add_person(database, name, "read", PASSWORD)
        with pytest.raises(Exception, match="at least 8"):
            accounts.add_person(database, "ann", "read", "short")


def test_the_tables_of_accounts_are_those_of_their_migration(tmp_path: Path) -> None:
    with open_database(tmp_path / "a.sqlite") as made, open_database(tmp_path / "b.sqlite") as migrated:
        with made.writing() as connection:
            METADATA.create_all(connection, tables=[accounts.persons, accounts.sessions])
        bring_up_to_date(migrated)
    for table in ("proofread_persons", "proofread_sessions"):
        columns = [
            sqlite3.connect(tmp_path / name).execute(f"PRAGMA table_info({table})").fetchall()
            for name in ("a.sqlite", "b.sqlite")
        ]
        assert columns[0] == columns[1] and columns[0]


def test_a_new_password_ends_sessions(tmp_path: Path) -> None:
    with open_database(tmp_path / "d.sqlite") as database:
        bring_up_to_date(database)
        accounts.add_person(database, "ann", "read", PASSWORD)
        held = accounts.start_session(database, accounts.Person("ann", "read"), 0.0)
        assert accounts.find_session(database, held, 1.0) == ("ann", "read")
        accounts.change_person(database, "ann", password="another horse")
        assert accounts.find_session(database, held, 1.0) is None
        assert accounts.check_password(database, "ann", PASSWORD) is None


def test_a_new_token_or_a_logout_ends_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = served(tmp_path)
    monkeypatch.chdir(tmp_path)
    for words, printed in ((["token"], "worker:"), (["logout"], "ended 2 sessions of worker")):
        here, there, other = (client_of(project, name) for name in ("worker", "worker", "boss"))
        assert proofread.run(["user", *words, "--config", "c.textproto", "--name", "worker"]) == 0
        assert printed in capsys.readouterr().out
        project.sessions._remembered.clear()
        assert [each.get("/api/me").status_code for each in (here, there, other)] == [401, 401, 200]
    token = accounts.new_token(project.state.database, "worker", ends_sessions=False)
    assert client_of(project).post("/api/session", json={"token": token}).status_code == 200
    assert proofread.run(["user", "logout", "--config", "c.textproto", "--name", "nobody"]) == 2


@pytest.mark.parametrize(
    ("address", "said", "found"),
    [
        ("10.0.0.2", "8.8.8.8", "8.8.8.8"),
        ("10.0.0.2", "1.1.1.1, 8.8.8.8", "8.8.8.8"),
        ("10.0.0.2", "1.1.1.1, 8.8.8.8, 10.0.0.3", "8.8.8.8"),
        ("10.0.0.2", "10.0.0.9, 10.0.0.3", "10.0.0.9"),
        ("10.0.0.2", "8.8.8.8, cat", "10.0.0.2"),
        ("10.0.0.2", "", "10.0.0.2"),
        ("9.9.9.9", "8.8.8.8", "9.9.9.9"),
        ("testclient", "8.8.8.8", "testclient"),
    ],
)
def test_only_a_trusted_proxy_says_where_a_request_is_from(address: str, said: str, found: str) -> None:
    assert forwarded(address, said, trusted(["10.0.0.0/8"])) == found
    assert forwarded(address, said, ()) == address


def test_a_backup_is_whole_while_people_go_on(tmp_path: Path) -> None:
    project = served(tmp_path)
    client = client_of(project, "boss")
    merge = {"a": "1", "b": "3", "key": "merge-0001"}
    client.post("/api/edits/merge", json=merge)
    (tmp_path / "out/proofreading/supervoxel_splits").mkdir(parents=True, exist_ok=True)
    (tmp_path / "out/proofreading/supervoxel_splits/7.npz").write_bytes(b"piece")
    with project.state.database.writing() as connection:
        connection.exec_driver_sql("UPDATE proofread_persons SET role = 'read' WHERE name = 'worker'")
        folder = Path(client.post("/api/backup").json()["folder"])
    with sqlite3.connect(folder / "decisions.sqlite") as copy:
        assert copy.execute("SELECT count(*) FROM edits").fetchone() == (1,)
        assert copy.execute("SELECT role FROM proofread_persons WHERE name = 'worker'").fetchone() == (
            "proofread",
        )
    assert (folder / "supervoxel_splits/7.npz").read_bytes() == b"piece"
    with pytest.raises(Exception, match="is there already"):
        backup.back_up(project.config, project.state.database, folder)


def test_figures_are_in_the_form_of_prometheus(tmp_path: Path) -> None:
    client = client_of(served(tmp_path), "reader")
    client.get("/api/neurons/1")
    client.get("/api/neurons/3")
    client.get("/nothing")
    lines = client.get("/metrics").text.splitlines()
    assert 'proofread_requests_total{method="GET",route="/api/neurons/{neuron}",status="200"} 2' in lines
    assert 'proofread_requests_total{method="GET",route="other",status="404"} 1' in lines
    assert 'proofread_request_seconds_count{route="/api/neurons/{neuron}"} 2' in lines
    assert "proofread_open_tasks 4" in lines
    form = re.compile(r'# (HELP|TYPE) \S+ .+|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [-+.\de]+')
    assert [line for line in lines if not form.fullmatch(line)] == []


def test_figures_are_for_this_machine_or_after_a_login(tmp_path: Path) -> None:
    project = served(tmp_path)
    proxied = {"X-Forwarded-For": "10.1.1.1"}
    assert client_of(project).get("/metrics", headers=proxied).status_code == 401
    assert client_of(project, "reader").get("/metrics", headers=proxied).status_code == 200


def test_what_fails_while_a_project_is_closed_leaves_no_database_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, closed = served(tmp_path), []
    monkeypatch.setattr(project.state, "close", lambda: closed.append("state"))
    project.close()
    assert closed == ["state"] and "pictures" not in vars(project), "nothing is opened to be closed"

    def fails() -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(project.pictures, "close", fails)
    with pytest.raises(OSError, match="disk"):
        project.close()
    assert closed == ["state"] * 2


def test_a_bucket_leaks() -> None:
    now = [0.0]
    limiter, rate = RateLimiter(lambda: now[0]), Rate(per_second=2, burst=3)
    assert [limiter.wait_s("k", "ann", rate) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limiter.wait_s("k", "ben", rate) == 0 and limiter.wait_s("other", "ann", rate) == 0
    now[0] = 0.5
    assert limiter.wait_s("k", "ann", rate, take=0) == 0
    assert [limiter.wait_s("k", "ann", rate) for _ in range(2)] == [0, 0.5]


def test_which_hosts_are_this_machine() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.8.8", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "example.org", "10.0.0.1", "")))
    assert known_hosts("127.0.0.1", ["Proof.Example"]) == {"localhost", "127.0.0.1", "proof.example"}
    assert os.uname().nodename.lower() in known_hosts("0.0.0.0")


def test_a_server_that_others_reach_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from proofreading.server import serving

    class Ended:
        def run(self, sockets: list[socket.socket]) -> None:
            assert sockets[0].getsockname()[0] == "0.0.0.0"

    monkeypatch.setattr(serving, "_server", lambda app: Ended())
    config = write_project(tmp_path)
    arguments = ["serve", "--config", str(config), "--host", "0.0.0.0", "--nomeshes"]
    assert proofread.run(arguments) == 0
    printed = capsys.readouterr()
    assert "reachable from other machines" in printed.err and "not encrypted" in printed.err
    assert "open http://127.0.0.1:" in printed.out


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_project(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert proofread.run(["serve", "--config", str(config), "--port", port]) == 2
    assert f"cannot listen at 127.0.0.1:{port}" in capsys.readouterr().err
