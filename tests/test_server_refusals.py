"""What a server refuses: in one line, with a status, logged, and without any change."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from served_project import LARGE, OURS, PASSWORD, client_of, served

from agglomeration.database import DatabaseError
from proofreading.errors import ConflictError, LeaseError, ProofreadingError, SomaError, UnknownError
from proofreading.server import accounts
from proofreading.server.app import make_app
from proofreading.server.guards import trusted
from proofreading.server.limits import Limits, Rate
from proofreading.server.served import ServedProject

GIB = 1 << 30
MERGE = {"a": "1", "b": str(LARGE), "key": "merge-0001"}
SPLIT = {
    "neuron": "1",
    "side_a": [{"supervoxel": "1", "point_nm": [50, 50, 50]}],
    "side_b": [{"supervoxel": "2", "point_nm": [50, 50, 250]}],
    "key": "split-0001",
}


@pytest.fixture
def project(tmp_path: Path) -> ServedProject:
    return served(tmp_path)


@pytest.fixture
def client(project: ServedProject) -> TestClient:
    return client_of(project, "worker")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """The fields of all lines, filled while the test runs."""
    lines: list[dict[str, Any]] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append({"event": record.getMessage(), **getattr(record, "fields", {})})

    logger, handler = logging.getLogger("proofreading.server"), Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)


def edits(project: ServedProject) -> int:
    return project.state.last_edit


def raising(error: Exception) -> Callable[..., None]:
    """A function that does nothing but this."""

    def raises(*_: Any, **__: Any) -> None:
        raise error

    return raises


def refused(answer: Any, status: int, words: str, log: list[dict[str, Any]], project: ServedProject) -> None:
    """One line that says what was wrong, the same in the log, and nothing done."""
    assert answer.status_code == status, answer.text
    line = answer.json()["error"]
    assert words in line and "\n" not in line
    assert log[-1]["refused"] == line and log[-1]["status"] == status
    assert edits(project) == 0


def test_a_wrong_token(project: ServedProject, log: list[dict[str, Any]]) -> None:
    token = accounts.new_token(project.state.database, "boss")
    client = client_of(project)
    for wrong in (token[:-1], token + "x", "boss:", "nobody:" + token[5:], ""):
        refused(client.post("/api/session", json={"token": wrong}), 401, "token is wrong", log, project)
        refused(client.get("/api/me"), 401, "not logged in", log, project)
    assert client.post("/api/session", json={"token": token}).json() == {"name": "boss", "role": "admin"}
    assert token not in json.dumps(log)


def test_a_wrong_password_and_an_unknown_name_look_alike(
    project: ServedProject, log: list[dict[str, Any]]
) -> None:
    client = client_of(project)
    for name, password in (("worker", "wrong horse"), ("nobody", PASSWORD)):
        answer = client.post("/api/session", json={"name": name, "password": password})
        refused(answer, 401, "name, password or token is wrong", log, project)
    assert PASSWORD not in json.dumps(log)


def test_guessing_passwords_is_slowed_down(tmp_path: Path, log: list[dict[str, Any]]) -> None:
    project = served(tmp_path, limits=Limits(failed_logins=Rate(0.01, 2)))
    client, wrong = client_of(project), {"name": "worker", "password": "wrong horse"}
    assert [client.post("/api/session", json=wrong).status_code for _ in range(3)] == [401, 401, 429]
    answer = client.post("/api/session", json={"name": "worker", "password": PASSWORD})
    refused(answer, 429, "too many requests", log, project)
    assert int(answer.headers["retry-after"]) > 50


def guesses(project: ServedProject, body: dict[str, str], address: str = "10.0.0.9") -> int:
    """The status of a login from an address behind a trusted proxy."""
    client = TestClient(make_app(project), "http://127.0.0.1:8765", headers=OURS, client=("10.0.0.2", 50000))
    return client.post("/api/session", json=body, headers={"X-Forwarded-For": address}).status_code


def test_guesses_keep_nobody_else_out(tmp_path: Path) -> None:
    limits = Limits(failed_logins=Rate(0.001, 3), failed_logins_of_address=Rate(0.001, 5))
    project = served(tmp_path, limits=limits)
    project.limiter.clock = lambda: 0.0
    project.proxies = trusted(["10.0.0.2"])
    wrong, right = ({"name": "worker", "password": each} for each in ("wrong horse", PASSWORD))
    assert [guesses(project, wrong) for _ in range(4)] == [401, 401, 401, 429]
    assert guesses(project, right) == 429, "not even who guessed right knows of it"
    assert guesses(project, right, "10.0.0.7") == 200, "the person themselves, elsewhere"
    assert guesses(project, {**right, "name": "boss"}) == 200, "another person there"
    assert [guesses(project, {**wrong, "name": f"x{i}"}) for i in range(3)] == [401, 401, 429]
    assert [guesses(project, right, "10.0.0.7") for _ in range(9)] == [200] * 9, "who is right is not counted"


def test_guesses_that_come_at_once_are_counted_before_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = served(tmp_path, limits=Limits(failed_logins=Rate(0.001, 5), logins_at_once=2))
    project.limiter.clock = lambda: 0.0
    at_once, most, looked_at, lock = 0, 0, 0, threading.Lock()

    def slowly(*_: Any) -> None:
        nonlocal at_once, most, looked_at
        with lock:
            at_once, looked_at = at_once + 1, looked_at + 1
            most = max(most, at_once)
        time.sleep(0.05)
        with lock:
            at_once -= 1

    monkeypatch.setattr(accounts, "check_password", slowly)
    wrong = {"name": "worker", "password": "wrong horse"}

    async def all_at_once() -> list[int]:
        transport = httpx.ASGITransport(make_app(project))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8765", headers=OURS
        ) as client:
            answers = await asyncio.gather(*(client.post("/api/session", json=wrong) for _ in range(20)))
        return sorted(each.status_code for each in answers)

    assert asyncio.run(all_at_once()) == [401] * 5 + [429] * 15
    assert looked_at == 5 and most <= 2


def test_an_expired_session(project: ServedProject, log: list[dict[str, Any]]) -> None:
    now = [1e9]
    project.sessions.clock = lambda: now[0]
    client = client_of(project, "worker")
    now[0] += accounts.SESSION_S - 1000
    assert client.get("/api/me").status_code == 200
    now[0] += accounts.SESSION_S - 1000
    assert client.get("/api/me").status_code == 200, "it was used meanwhile"
    now[0] += accounts.SESSION_S + 1
    refused(client.post("/api/edits/merge", json=MERGE), 401, "the session has ended", log, project)


def test_a_session_that_was_logged_out_of(project: ServedProject, log: list[dict[str, Any]]) -> None:
    client = client_of(project, "worker")
    cookies = dict(client.cookies)
    assert client.delete("/api/session").status_code == 204
    client.cookies.update(cookies)
    refused(client.get("/api/me"), 401, "the session has ended", log, project)


def test_a_person_who_was_removed(project: ServedProject, client: TestClient) -> None:
    accounts.remove_person(project.state.database, "worker")
    project.sessions.clock = lambda: 1e9 + 6
    assert client.get("/api/me").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"X-Requested-By": ""},
    ],
    ids=str,
)
def test_a_request_of_another_page(
    headers: dict[str, str], client: TestClient, project: ServedProject, log: list[dict[str, Any]]
) -> None:
    answer = client.post("/api/edits/merge", json=MERGE, headers=headers)
    refused(answer, 403, "X-Requested-By" if "X-Requested-By" in headers else "origin", log, project)
    assert "access-control-allow-origin" not in answer.headers


def test_a_form_of_another_page_reads_nothing(client: TestClient) -> None:
    assert client.get("/api/me", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    followed_link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/ng/v/stub/", headers=followed_link).status_code == 200
    assert client.get("/api/me", headers=followed_link).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", ""])
def test_a_name_that_was_made_to_point_here(
    host: str, client: TestClient, project: ServedProject, log: list[dict[str, Any]]
) -> None:
    refused(client.get("/api/me", headers={"Host": host}), 400, "this server is not", log, project)


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1:8765", "[::1]:8765", "10.1.2.3:8765"])
def test_numbers_and_the_servers_own_names_are_answered(host: str, client: TestClient) -> None:
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/data/image/../../c.textproto",
        "/data/image/..%2f..%2fc.textproto",
        "/data/image/%2e%2e/%2e%2e/c.textproto",
        "/data/image/%252e%252e/c.textproto",
        "/data/image/..%5c..%5cc.textproto",
        "/data/image//etc/passwd",
        "/data/image/%2fetc%2fpasswd",
        "/data/image/info%00",
        "/data/image/.hidden",
        "/data/../c.textproto",
        "/data/image/way-out/c.textproto",
        "/ng/v/stub/..%2f__init__.py",
        "/ng/v/stub/index.html",
        "/static/..%2fapp.py",
    ],
)
def test_a_path_that_leaves_its_folder(
    path: str, client: TestClient, project: ServedProject, tmp_path: Path, log: list[dict[str, Any]]
) -> None:
    (tmp_path / "out/image/.hidden").write_text("hidden")
    (tmp_path / "out/image/way-out").symlink_to(tmp_path)
    request = client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())
    refused(client.send(request), 404, "there is no", log, project)


def test_an_upload_of_ten_gigabytes_that_says_so(
    client: TestClient, project: ServedProject, log: list[dict[str, Any]]
) -> None:
    said = {"Content-Length": str(10 * GIB), "Content-Type": "application/json"}
    answer = client.post("/api/edits/merge", content=b"{}", headers=said)
    refused(answer, 413, f"larger than the {1 << 20} bytes", log, project)
    assert answer.headers["connection"] == "close"


def test_an_upload_that_hides_its_size_is_stopped_at_the_limit(
    client: TestClient, project: ServedProject, log: list[dict[str, Any]]
) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(10):
            sent += 1
            yield b" " * (1 << 18)

    answer = client.post("/api/edits/merge", content=pieces(), headers={"Content-Type": "application/json"})
    refused(answer, 413, "nothing of it was kept", log, project)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{", "the body is no JSON"),
        ("", "the body is no JSON"),
        ("[1, 2]", "the body is no JSON object"),
        ('{"a": "1", "a"', "the body is no JSON"),
        ("\x00\xff", "the body is no JSON"),
        ("{}", "Field required"),
        ('{"a": "1", "b": "2", "key": "12345678", "more": 1}', "more: Extra inputs"),
        ('{"a": "1", "b": "2", "key": "short"}', "key: "),
        ('{"a": "1", "b": "2", "key": "12345678", "force": "yes"}', "force: "),
        ('{"a": "1", "b": "2", "key": "12345678", "point_a_nm": [NaN, 1, 1]}', "point_a_nm"),
        ('{"a": "1", "b": "2", "key": "12345678", "point_a_nm": [1, 1]}', "point_a_nm"),
    ],
    ids=lambda text: text[:30],
)
def test_a_body_that_is_malformed(
    body: str, words: str, client: TestClient, project: ServedProject, log: list[dict[str, Any]]
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/edits/merge", content=body.encode("latin-1"), headers=headers)
    refused(answer, 422, words, log, project)


def test_a_body_that_is_nested_too_deeply(
    client: TestClient, project: ServedProject, log: list[dict[str, Any]]
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/edits/merge", content=b"[" * 100_000, headers=headers)
    refused(answer, 400, "the body is no JSON", log, project)


@pytest.mark.parametrize(
    "number", [LARGE, 1, 1.0, True, None, [], "1.0", "-1", "0", "0x1", "١", str(2**63), ""]
)
def test_an_id_that_is_no_text_of_digits(
    number: object, client: TestClient, project: ServedProject, log: list[dict[str, Any]]
) -> None:
    answer = client.post("/api/edits/merge", json={**MERGE, "b": number})
    refused(answer, 422, "b: ", log, project)


def test_an_id_above_2_53_arrives_to_the_last_digit(client: TestClient, project: ServedProject) -> None:
    assert client.post("/api/edits/merge", json=MERGE).status_code == 200
    about = client.get(f"/api/neurons/{LARGE}").json()
    assert about["id"] == str(LARGE) and about["current"] == ["1"]
    assert client.get("/api/neurons/1").json()["supervoxels"] == ["1", "2", str(LARGE)]


def test_an_unknown_id(client: TestClient, project: ServedProject, log: list[dict[str, Any]]) -> None:
    refused(client.get("/api/neurons/77"), 404, "no neuron 77", log, project)
    refused(client.get("/api/search?q=77"), 404, "77 is neither", log, project)
    refused(client.get("/api/search?q=cat"), 404, "'cat' is no ID", log, project)
    answer = client.post("/api/edits/merge", json={**MERGE, "a": "77"})
    refused(answer, 404, "supervoxel 77", log, project)


@pytest.mark.parametrize("point", [[-1, 50, 50], [50, -0.5, 50], [50, 50, 1040], [1e300, 0, 0]], ids=str)
def test_a_point_outside_the_volume(
    point: list[float], client: TestClient, project: ServedProject, log: list[dict[str, Any]]
) -> None:
    side = [{"supervoxel": "1", "point_nm": point}]
    words = "lies outside the volume (z 0:400, y 0:240, x 0:1040 nm)"
    for path in ("split", "split/preview"):
        body = {**SPLIT, "side_a": side}
        if path == "split/preview":
            del body["key"]
        refused(client.post(f"/api/edits/{path}", json=body), 422, words, log, project)


@pytest.mark.parametrize(
    ("name", "method", "path", "status"),
    [
        ("reader", "GET", "/api/edits", 200),
        ("reader", "POST", "/api/edits/merge", 403),
        ("reader", "POST", "/api/edits/1/undo", 403),
        ("reader", "POST", "/api/backup", 403),
        ("worker", "POST", "/api/backup", 403),
        ("boss", "POST", "/api/backup", 200),
        (None, "GET", "/api/project", 401),
        (None, "GET", "/api/edits", 401),
        (None, "GET", "/data/image/info", 401),
        (None, "GET", "/api/openapi.json", 401),
        (None, "POST", "/api/edits/merge", 401),
    ],
)
def test_what_each_role_may(
    name: str | None, method: str, path: str, status: int, project: ServedProject
) -> None:
    body = {"key": "12345678"} if "undo" in path else MERGE
    answer = client_of(project, name).request(method, path, json=body if method == "POST" else None)
    assert answer.status_code == status, answer.text
    assert edits(project) == 0


def test_every_address_of_the_interface_needs_a_login(project: ServedProject) -> None:
    app, client = make_app(project), client_of(project)
    open_to_all = {"/health", "/metrics", "/api/session"}
    for path, methods in app.openapi()["paths"].items():
        for method in methods if path not in open_to_all else ():
            answer = client.request(method, path.replace("{", "").replace("}", ""), json={})
            assert answer.status_code == 401, f"{method} {path}: {answer.text}"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ConflictError("neuron 1 has changed"), 409, "conflict"),
        (SomaError("two cell bodies"), 409, "soma"),
        (LeaseError("not yours any more"), 410, "lease"),
        (UnknownError("no such edit"), 404, "unknown"),
        (ProofreadingError("not possible"), 400, "refused"),
        (DatabaseError("locked"), 503, "database"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_errors_of_the_state_have_a_status_each(
    error: Exception,
    status: int,
    kind: str,
    client: TestClient,
    project: ServedProject,
    log: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(project.state, "merge", raising(error))
    answer = client.post("/api/edits/merge", json=MERGE)
    refused(answer, status, str(error), log, project)
    assert answer.json()["kind"] == kind


def test_a_defect_of_ours_tells_nothing_but_where_the_log_has_it(
    client: TestClient,
    project: ServedProject,
    log: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(project.state, "merge", raising(RuntimeError("secret detail")))
    answer = client.post("/api/edits/merge", json=MERGE)
    refused(answer, 500, "the server failed", log, project)
    assert "secret" not in answer.text and log[-2]["event"] == "defect"
    assert log[-2]["request"] in answer.json()["error"]


def test_too_many_requests_of_one_person_or_one_address(tmp_path: Path, log: list[dict[str, Any]]) -> None:
    limits = Limits(person=Rate(1, 3), address=Rate(1, 6), files=Rate(1, 2))
    project = served(tmp_path, limits=limits)
    project.limiter.clock = lambda: 0.0
    client = client_of(project, "worker")
    assert [client.get("/api/me").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused(client.get("/api/me"), 429, "try again in 1 s", log, project)
    assert [client.get("/health").status_code for _ in range(3)] == [200, 200, 429]


def test_an_unknown_address_and_an_unknown_method_are_refused_in_the_same_form(
    client: TestClient, project: ServedProject, log: list[dict[str, Any]]
) -> None:
    refused(client.get("/api/nothing"), 404, "there is no such address", log, project)
    refused(client.put("/api/me"), 405, "takes no such method", log, project)
    refused(
        TestClient(make_app(project), "http://127.0.0.1", headers=OURS).get("/api/me"),
        401,
        "not",
        log,
        project,
    )
