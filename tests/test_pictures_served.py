"""Pictures behind the server's own guards: logins, roles, origins, sizes."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from served_project import OURS, PASSWORD, served

from proofreading.pictures import PictureQueue, routes
from proofreading.pictures.jobs import JobState
from proofreading.server.app import make_app
from proofreading.server.limits import Limits
from proofreading.server.served import ServedProject

ADDRESS = "/api/pictures?name=a.png&network=phantom"
OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[tuple[ServedProject, PictureQueue, Any]]:
    project = served(tmp_path, limits=Limits(upload_bytes=3000), proofreading="waiting_pictures: 3")
    queue = project.pictures
    # Nothing is worked on here.
    queue._work_on = lambda: None  # type: ignore[method-assign]
    yield project, queue, make_app(project)
    project.close()


def client_of(app: Any, name: str | None) -> TestClient:
    client = TestClient(app, "http://127.0.0.1:8765", headers=OURS)
    if name is not None:
        assert client.post("/api/session", json={"name": name, "password": PASSWORD}).status_code == 200
    return client


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_limits_are_those_of_the_config(pictures: Any) -> None:
    project, queue, _ = pictures
    assert queue.limits.waiting == 3 and queue.limits.voxels == project.config.proofreading.picture_voxels
    assert queue.folder == Path(project.config.output_dir) / "proofreading" / "pictures"


def test_pictures_need_a_login_and_work_needs_a_role(pictures: Any) -> None:
    _, _, app = pictures
    assert client_of(app, None).get("/api/pictures").status_code == 401
    assert client_of(app, None).post(ADDRESS, content=png(), headers=OCTETS).status_code == 401
    reader = client_of(app, "reader")
    assert reader.get("/api/pictures").status_code == 200
    assert reader.post(ADDRESS, content=png(), headers=OCTETS).status_code == 403
    worker = client_of(app, "worker")
    number = worker.post(ADDRESS, content=png(), headers=OCTETS).json()["id"]
    assert worker.get(f"/api/pictures/{number}").json()["state"] == "waiting"
    # Not even an admin sees what others uploaded.
    assert client_of(app, "boss").get(f"/api/pictures/{number}").status_code == 404
    assert client_of(app, "boss").delete(f"/api/pictures/{number}").status_code == 404


def test_another_page_cannot_send_pictures(pictures: Any) -> None:
    _, queue, app = pictures
    worker = client_of(app, "worker")
    for headers in ({"X-Requested-By": ""}, {"Origin": "https://elsewhere.example"}):
        answer = worker.post(ADDRESS, content=png(), headers={**OCTETS, **headers})
        assert answer.status_code == 403, headers
    assert queue.jobs() == []


def test_an_upload_that_says_or_turns_out_to_be_too_large_is_refused(pictures: Any) -> None:
    _, queue, app = pictures
    worker = client_of(app, "worker")
    said = worker.post(ADDRESS, content=b"", headers={**OCTETS, "Content-Length": str(10 * 2**30)})
    assert said.status_code == 413 and "nothing of it was kept" in said.json()["error"]

    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(100)

    assert worker.post(ADDRESS, content=parts(), headers=OCTETS).status_code == 413
    assert queue.jobs() == [] and not list(queue.folder.glob("*"))


def test_refusals_have_the_servers_one_shape(pictures: Any) -> None:
    _, _, app = pictures
    worker = client_of(app, "worker")
    for answer in (
        worker.post(ADDRESS, content=b"GIF89a..", headers=OCTETS),
        worker.post(f"{ADDRESS}&voxel_size_nm=1,2", content=png(), headers=OCTETS),
        worker.get("/api/pictures/none"),
        worker.get("/api/pictures/none/section?kind=other"),
    ):
        assert 400 <= answer.status_code < 500 and set(answer.json()) == {"error", "kind"}
    for _ in range(3):
        assert worker.post(ADDRESS, content=png(), headers=OCTETS).status_code == 201
    answer = worker.post(ADDRESS, content=png(), headers=OCTETS)
    assert answer.status_code == 429 and "3 pictures are waiting already" in answer.json()["error"]


def test_the_page_is_sent_with_the_servers_policy(pictures: Any) -> None:
    _, _, app = pictures
    answer = client_of(app, None).get("/pictures")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy and "'unsafe-inline'" not in policy.split("style-src")[0]


@pytest.mark.parametrize(
    ("path", "headers", "size", "status", "kind"),
    [
        (ADDRESS, {"Content-Type": "image/png"}, 100, 415, "malformed"),
        (ADDRESS, OCTETS, 4000, 413, "too_large"),
        (ADDRESS, OCTETS, 100, 400, "refused"),
        ("/api/pictures?name=a.png", OCTETS, 100, 422, "malformed"),
        ("/api/pictures/none/cancel", {}, 0, 404, "unknown"),
        ("/api/pictures/none", {}, 0, 405, "unknown"),
    ],
)
def test_what_is_refused_has_the_kind_of_its_status(
    path: str, headers: dict[str, str], size: int, status: int, kind: str, pictures: Any
) -> None:
    answer = client_of(pictures[2], "worker").post(path, content=b"x" * size, headers=headers)
    assert (answer.status_code, answer.json()["kind"]) == (status, kind), answer.text


def test_uploads_that_trickle_hold_no_places(pictures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, queue, app = pictures
    monkeypatch.setattr(routes, "_SILENT_S", 2.0)
    cookies = {name: dict(client_of(app, name).cookies) for name in ("worker", "boss")}

    async def trickle() -> AsyncIterator[bytes]:
        for byte in b"PNG":
            yield bytes([byte])
            await asyncio.sleep(0.2 if byte != ord("G") else 60)

    async def uploads() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8765", headers={**OURS, **OCTETS}
        ) as client:

            async def send(name: str, content: Any) -> int:
                held = "; ".join(f"{key}={value}" for key, value in cookies[name].items())
                answer = await client.post(ADDRESS, content=content, headers={"Cookie": held})
                return answer.status_code

            slow = [asyncio.create_task(send("worker", trickle())) for _ in range(2)]
            while sum(job.state is JobState.UPLOADING for job in queue.jobs()) < len(slow):
                await asyncio.sleep(0.01)
            third = await send("worker", png())
            other = await send("boss", png())
            return [third, other, *await asyncio.gather(*slow), await send("worker", png())]

    assert asyncio.run(uploads()) == [429, 201, 408, 408, 201]
    assert {job.state.value for job in queue.jobs()} == {"waiting"}


def test_too_many_pictures_are_refused(pictures: Any) -> None:
    worker = client_of(pictures[2], "worker")
    answers = [worker.post(ADDRESS, content=png(), headers=OCTETS) for _ in range(4)]
    assert [each.status_code for each in answers] == [201, 201, 201, 429]
    assert answers[3].json()["kind"] == "refused"
