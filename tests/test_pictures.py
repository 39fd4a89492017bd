"""Pictures are read safely, wait their turn, are segmented in a process of their own, and saved."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from PIL import Image

from configs.errors import ReconstructionError
from ffn.weights import builtin_networks
from proofreading.errors import UnknownError
from proofreading.pictures import Job, JobState, PictureError, PictureLimits, PictureQueue, Wanted
from proofreading.pictures.jobs import load_job
from proofreading.pictures.queue import TooManyError
from proofreading.pictures.reading import read_picture
from proofreading.pictures.routes import picture_routes
from proofreading.pictures.saving import Section, colours_of, overlay, read_section, save_tiff
from proofreading.pictures.segmenting import padding_of
from proofreading.pictures.worker import main, write_result

MOST = 10_000
WANTED = Wanted("phantom")
OCTETS = {"Content-Type": "application/octet-stream"}


def grey(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


# Reading.


def test_a_png_is_one_section(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(png(grey(7, 9)))
    found = read_picture(tmp_path / "a", MOST)
    np.testing.assert_array_equal(found.voxels, grey(7, 9)[None])
    assert found.notes == ()


def test_colours_become_their_brightness(tmp_path: Path) -> None:
    colours = np.zeros((2, 2, 3), np.uint8)
    colours[0, 0], colours[0, 1], colours[1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    (tmp_path / "a").write_bytes(png(colours))
    assert read_picture(tmp_path / "a", MOST).voxels[0].tolist() == [[76, 150], [29, 0]]


def test_sixteen_bits_are_stretched_and_that_is_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[1000, 3000], [2000, 1000]], np.uint16))
    found = read_picture(tmp_path / "a.tif", MOST)
    assert found.voxels[0].tolist() == [[0, 255], [128, 0]]
    assert found.notes == ("values from 1000 to 3000 (uint16) became 0 to 255",)


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"compression": "zlib"}, {"byteorder": ">"}])
def test_a_tiff_is_a_stack(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey(5, 7, 9), photometric="minisblack", **options)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif", MOST).voxels, grey(5, 7, 9))


def test_the_picture_in_an_hdf5_is_found_or_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["volumes/raw"] = grey(3, 4, 5)
        file["names"] = np.bytes_("no picture")
        file["line"] = np.arange(4)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.h5", MOST).voxels, grey(3, 4, 5))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["other"] = grey(6, 7)
    with pytest.raises(PictureError, match=r"has 2 pictures \(other, volumes/raw\); name one"):
        read_picture(tmp_path / "a.h5", MOST)
    assert read_picture(tmp_path / "a.h5", MOST, "/other").voxels.shape == (1, 6, 7)
    with pytest.raises(PictureError, match="no picture 'gone' in the file"):
        read_picture(tmp_path / "a.h5", MOST, "gone")


def bomb_png() -> bytes:
    """A PNG that says 50000 x 50000."""
    data = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", data), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def external_hdf5(path: Path) -> None:
    (path.parent / "secret").write_bytes(bytes(100))
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (10, 10), np.uint8, external=[(str(path.parent / "secret"), 0, 100)])


def virtual_hdf5(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as file:
        file["a"] = grey(4, 4)
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((4, 4), np.uint8)
        layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "a", (4, 4))
        file.create_virtual_dataset("a", layout)


def linked_hdf5(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as file:
        file["a"] = grey(4, 4)
    with h5py.File(path, "w") as file:
        file["a"] = h5py.ExternalLink(str(path.with_name("other.h5")), "/a")


def large_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (1000, 1000, 1000), np.uint8, chunks=(10, 10, 10))


def large_chunks(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (4, 4), np.uint8, chunks=(1000, 1000), maxshape=(None, None))


def not_finite(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a"] = np.array([[1.0, np.nan]])


UNREADABLE = {
    "bomb": (lambda path: path.write_bytes(bomb_png()), r"1 x 50000 x 50000 voxels .* larger than the 10000"),
    "large hdf5": (large_hdf5, "larger than the 10000"),
    "large chunks": (large_chunks, "has chunks larger than allowed"),
    "external": (external_hdf5, "has its values elsewhere"),
    "virtual": (virtual_hdf5, "has its values elsewhere"),
    "link to another file": (linked_hdf5, "has 0 pictures"),
    "large tiff": (lambda path: tifffile.imwrite(path, grey(60, 20, 20)), "larger than the 10000"),
    "pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01."), "no PNG, TIFF or HDF5"),
    "npy": (lambda path: np.save(path.open("wb"), grey(3, 3)), "no PNG, TIFF or HDF5"),
    "empty": (lambda path: path.write_bytes(b""), "no PNG, TIFF or HDF5"),
    "cut png": (lambda path: path.write_bytes(png(grey(50, 50))[:900]), "PNG file cannot be read"),
    "cut tiff": (lambda path: path.write_bytes(b"II*\0" + bytes(3)), "TIFF file cannot be read|no voxels"),
    "cut hdf5": (
        lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)),
        "HDF5 file cannot be read",
    ),
    "not finite": (not_finite, "values that are no numbers"),
}


@pytest.mark.parametrize("write, line", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_plain_picture_is_refused_in_one_line(tmp_path: Path, write: Any, line: str) -> None:
    write(tmp_path / "upload")
    with pytest.raises(PictureError, match=line) as refused:
        read_picture(tmp_path / "upload", MOST)
    assert "\n" not in str(refused.value)


def test_sections_of_several_sizes_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(grey(4, 5))
        writer.write(grey(4, 6))
    with pytest.raises(PictureError, match=r"section 2 has shape \(4, 6\)"):
        read_picture(tmp_path / "a.tif", MOST)


@pytest.mark.slow
def test_a_tiff_that_unpacks_to_more_than_it_says_is_refused_by_the_worker(tmp_path: Path) -> None:
    """A section of 100 voxels whose strip unpacks to 4 GB."""
    tifffile.imwrite(tmp_path / "a.tif", grey(10, 10), compression="zlib")
    packer, zeros = zlib.compressobj(9), bytes(1 << 24)
    # After a full flush the next part does not depend on those before it, so that it may stand there often.
    first, next_one = (packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    strip = first + 255 * next_one + packer.flush()
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = {code: file.pages.first.tags[code].valueoffset for code in (273, 279)}
    struct.pack_into("<I", data, tags[273], len(data))
    struct.pack_into("<I", data, tags[279], len(strip))
    job = Job("0" * 16, "ada", "a.tif", WANTED, JobState.RUNNING, 0.0)
    job.save(tmp_path)
    (tmp_path / "upload").write_bytes(bytes(data) + strip)
    # In a process of its own, whose memory is bounded.
    assert worker(tmp_path, 1000)[-1] == {"error": "the file unpacks to more than it says; save it again"}


def worker(folder: Path, most_voxels: int) -> list[dict[str, Any]]:
    """What a worker says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "proofreading.pictures.worker", str(folder), str(most_voxels)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    lines = [json.loads(line) for line in process.stdout]
    process.stdin.close()
    process.wait()
    return lines


# The queue. Its workers are stand-ins that do what the name of the file says.

STAND_IN = """
import json, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
name = json.loads((folder / "job.json").read_text())["name"]
say = lambda **values: print(json.dumps(values), flush=True)
with (folder.parent.parent / "order").open("a") as order:
    order.write(name + "\\n")
say(stage="segmenting", progress=0.5, shape=[1, 4, 6], person="mallory", state="done")
if "slow" in name:
    time.sleep(60)
if "dies" in name:
    sys.exit(9)
if "fails" in name:
    say(error="it is too dark")
    sys.exit(1)
import numpy as np
from proofreading.pictures.worker import write_result
objects = np.arange(24, dtype=np.uint32).reshape(1, 4, 6) % 3
write_result(folder / "result.h5", np.full((1, 4, 6), 100, np.uint8), objects, (8.0, 4.0, 4.0))
say(objects=2, voxel_size_nm=[8, 4, 4], notes=["as dark as it was"])
say(done=True)
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
def queues(tmp_path: Path) -> Iterator[Any]:
    """Makes queues over one folder, and closes them."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    made: list[PictureQueue] = []
    clock = Clock()

    def make(**limits: Any) -> PictureQueue:
        command = (sys.executable, str(tmp_path / "stand_in.py"))
        made.append(PictureQueue(tmp_path / "jobs", PictureLimits(**limits), command=command, clock=clock))
        return made[-1]

    make.clock = clock  # type: ignore[attr-defined]
    yield make
    for queue in made:
        queue.close()


def put(queue: PictureQueue, name: str, person: str = "ada") -> Job:
    job = queue.reserve(person, name, WANTED)
    queue.upload_path(job).write_bytes(png(grey(4, 6)))
    return queue.submit(job)


def until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def test_a_picture_is_worked_on_and_its_result_is_there(queues: Any) -> None:
    queue = queues()
    job = queue.wait(put(queue, "../../a.png").id, 30)
    assert (job.state, job.name, job.objects, job.shape) == (JobState.DONE, "a.png", 2, (1, 4, 6))
    assert job.person == "ada" and job.notes == ("as dark as it was",) and job.progress == 0.5
    assert read_section(queue.result_path(job), 0).objects.max() == 2
    assert not queue.upload_path(job).exists()
    assert load_job(queue.folder / job.id) == job


@pytest.mark.parametrize(
    "name, line", [("fails.png", "^it is too dark$"), ("dies.png", r"ended unexpectedly \(exit code 9\)")]
)
def test_a_failure_says_why_and_the_next_one_goes_on(queues: Any, name: str, line: str) -> None:
    import re

    queue = queues()
    bad, good = put(queue, name), put(queue, "good.png")
    job = queue.wait(bad.id, 30)
    assert job.state is JobState.FAILED and re.search(line, job.error)
    assert queue.wait(good.id, 30).state is JobState.DONE
    with pytest.raises(PictureError, match="this picture is failed"):
        queue.result_path(job)


def test_pictures_are_worked_on_in_the_order_they_came(queues: Any, tmp_path: Path) -> None:
    queue = queues()
    jobs = [put(queue, f"{n}.png") for n in range(3)]
    assert [queue.ahead_of(job) for job in jobs[1:]] == [1, 2]
    for job in jobs:
        queue.wait(job.id, 30)
    assert (tmp_path / "order").read_text().split() == ["0.png", "1.png", "2.png"]


def test_no_more_may_wait_than_allowed(queues: Any) -> None:
    queue = queues(waiting=2)
    slow = put(queue, "slow.png")
    # A place counts from the beginning of the upload.
    other = queue.reserve("ada", "b.png", WANTED)
    with pytest.raises(TooManyError, match="2 pictures are waiting already"):
        queue.reserve("ada", "c.png", WANTED)
    queue.remove(other.id)
    queue.cancel(slow.id)
    assert queue.wait(put(queue, "d.png").id, 30).state is JobState.DONE


def test_cancelling_ends_the_process(queues: Any) -> None:
    queue = queues()
    job = put(queue, "slow.png")
    until(lambda: queue.get(job.id).progress == 0.5)
    process = queue._process
    assert queue.cancel(job.id).state is JobState.CANCELLED
    until(lambda: process.poll() is not None, 5)
    assert queue.wait(put(queue, "next.png").id, 30).state is JobState.DONE
    assert queue.get(job.id).state is JobState.CANCELLED


def test_what_waited_or_ran_when_the_server_ended_is_worked_on_again(queues: Any, tmp_path: Path) -> None:
    queue = queues()
    running, waiting = put(queue, "slow.png"), put(queue, "b.png")
    unfinished = queue.reserve("ada", "c.png", WANTED)
    until(lambda: queue.get(running.id).progress == 0.5)
    queue.close()
    assert load_job(queue.folder / running.id).state is JobState.RUNNING
    again = queues()
    assert again.get(running.id).state in (JobState.WAITING, JobState.RUNNING)
    assert not (queue.folder / unfinished.id).exists()
    again.cancel(running.id)
    assert again.wait(waiting.id, 30).state is JobState.DONE


def test_what_is_over_is_kept_for_a_time(queues: Any) -> None:
    queue = queues(kept_s=1000.0, kept=2)
    first = queue.wait(put(queue, "a.png").id, 30)
    queues.clock.now += 500
    second = queue.wait(put(queue, "b.png").id, 30)
    queues.clock.now += 600
    third = queue.wait(put(queue, "c.png").id, 30)
    assert [job.id for job in queue.jobs()] == [third.id, second.id]
    assert not (queue.folder / first.id).exists()
    queue.wait(put(queue, "d.png").id, 30)
    queue.reserve("ada", "e.png", WANTED)
    assert second.id not in [job.id for job in queue.jobs()]


def test_people_see_their_own_pictures(queues: Any) -> None:
    queue = queues()
    job = put(queue, "a.png")
    assert queue.jobs("bob") == [] and [each.id for each in queue.jobs("ada")] == [job.id]
    for act in (queue.get, queue.cancel, queue.remove):
        with pytest.raises(UnknownError, match="there is no picture"):
            act(job.id, "bob")


def test_a_network_that_is_not_installed_is_refused(queues: Any) -> None:
    with pytest.raises(PictureError, match="no network 'tissue9'; there are: phantom"):
        queues().reserve("ada", "a.png", Wanted("tissue9"))


def test_another_format_is_refused_before_it_waits(queues: Any) -> None:
    queue = queues()
    job = queue.reserve("ada", "a.png", WANTED)
    queue.upload_path(job).write_bytes(b"GIF89a..")
    with pytest.raises(PictureError, match="no PNG, TIFF or HDF5"):
        queue.submit(job)


def test_a_damaged_job_is_forgotten(queues: Any) -> None:
    queue = queues()
    job = queue.wait(put(queue, "a.png").id, 30)
    (queue.folder / job.id / "job.json").write_text('{"id": 1')
    assert queues().jobs() == []


# Over HTTP.


@pytest.fixture
def client(queues: Any) -> TestClient:
    queue = queues(upload_bytes=5000, waiting=2)
    app = FastAPI()
    person = SimpleNamespace(name="ada")
    app.include_router(picture_routes(lambda: queue, lambda: person, lambda: person))

    @app.exception_handler(ReconstructionError)
    async def refused(_: Request, error: ReconstructionError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 404 if isinstance(error, UnknownError) else 400)

    found = TestClient(app)
    found.queue = queue  # type: ignore[attr-defined]
    return found


def send(client: TestClient, body: bytes | None = None, **query: Any) -> Any:
    query = {"name": "a.png", "network": "phantom", **query}
    body = png(grey(4, 6)) if body is None else body
    return client.post("/api/pictures", params=query, content=body, headers=OCTETS)


def finished(client: TestClient, number: str) -> dict[str, Any]:
    client.queue.wait(number, 30)  # type: ignore[attr-defined]
    return dict(client.get(f"/api/pictures/{number}").json())


def test_a_picture_goes_from_upload_to_every_format(client: TestClient, tmp_path: Path) -> None:
    offered = client.get("/api/pictures").json()
    assert [each["name"] for each in offered["networks"]] == builtin_networks()
    assert offered["networks"][0]["voxel_size_nm"] == [10, 10, 10]
    sent = send(client, voxel_size_nm="8,4,4", match=False)
    assert sent.status_code == 201 and "person" not in sent.json()
    job = finished(client, sent.json()["id"])
    assert job["state"] == "done" and job["wanted"]["voxel_size_nm"] == [8, 4, 4]
    address = f"/api/pictures/{job['id']}"
    raw = Image.open(io.BytesIO(client.get(f"{address}/section?kind=raw").content))
    assert (np.array(raw) == 100).all()
    shown = np.array(Image.open(io.BytesIO(client.get(f"{address}/section?kind=objects").content)))
    np.testing.assert_array_equal(shown[..., 3] > 0, np.arange(24).reshape(4, 6) % 3 > 0)
    found = {}
    for form in offered["formats"]:
        answer = client.get(f"{address}/result?format={form}")
        assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
        found[form] = answer.content
    objects = (np.arange(24, dtype=np.uint32) % 3).reshape(1, 4, 6)
    np.testing.assert_array_equal(np.frombuffer(found["raw"], "<u4").reshape(1, 4, 6), objects)
    assert (
        "a_phantom_z1_y4_x6_uint32.raw"
        in client.get(f"{address}/result?format=raw").headers["content-disposition"]
    )
    with h5py.File(io.BytesIO(found["hdf5"])) as file:
        np.testing.assert_array_equal(file["segmentation"][()], objects)
        assert file["raw"].attrs["resolution"].tolist() == [8, 4, 4]
    with tifffile.TiffFile(io.BytesIO(found["tiff"])) as file:
        np.testing.assert_array_equal(file.asarray(), objects[0])
        assert file.pages.first.dtype == np.uint32
    assert Image.open(io.BytesIO(found["png"])).size == (6, 4)
    assert Image.open(io.BytesIO(found["jpeg"])).format == "JPEG"
    assert found["pdf"].startswith(b"%PDF") and found["pdf"].rstrip().endswith(b"%%EOF")
    assert not list(tmp_path.rglob("*.tif"))
    assert client.delete(address).status_code == 204
    assert client.get(address).status_code == 404
    assert client.get("/api/pictures").json()["pictures"] == []


REFUSED = {
    "too large": ({"body": bytes(5001)}, 413, "larger than the 5000 bytes"),
    "empty": ({"body": b""}, 400, "the file is empty"),
    "another format": ({"body": b"GIF89a.."}, 400, "no PNG, TIFF or HDF5"),
    "no such network": ({"network": "../../net"}, 400, "there is no network"),
    "voxel size": ({"voxel_size_nm": "8,4"}, 400, "is not three numbers z,y,x"),
    "negative voxel size": ({"voxel_size_nm": "8,4,-4"}, 400, "is none; give z,y,x"),
    "voxel size of NaN": ({"voxel_size_nm": "nan,4,4"}, 400, "is none; give z,y,x"),
    "no name": ({"name": ""}, 422, ""),
    "smallest": ({"min_segment_size": 0}, 422, ""),
}


@pytest.mark.parametrize("given, status, line", REFUSED.values(), ids=REFUSED)
def test_uploads_that_cannot_be_used_are_refused_and_leave_nothing(
    client: TestClient, given: dict[str, Any], status: int, line: str
) -> None:
    answer = send(client, **given)
    assert answer.status_code == status and line in answer.text
    assert client.get("/api/pictures").json()["pictures"] == []
    assert not list(client.queue.folder.glob("*"))  # type: ignore[attr-defined]


def test_a_form_is_no_file(client: TestClient) -> None:
    query = {"name": "a.png", "network": "phantom"}
    answer = client.post("/api/pictures", params=query, files={"file": b"x"})
    assert answer.status_code == 415 and "application/octet-stream" in answer.text


def test_too_many_uploads_are_told_to_wait(client: TestClient) -> None:
    numbers = [send(client, name="slow.png").json()["id"] for _ in range(2)]
    answer = send(client)
    assert answer.status_code == 429 and answer.headers["retry-after"] == "30"
    assert client.post(f"/api/pictures/{numbers[0]}/cancel").json()["state"] == "cancelled"
    assert send(client).status_code == 201
    client.post(f"/api/pictures/{numbers[1]}/cancel")


@pytest.mark.parametrize("number", ["0" * 16, "..", "%2e%2e", "a/../b"])
def test_there_is_no_way_to_others_files(client: TestClient, number: str) -> None:
    assert client.get(f"/api/pictures/{number}/result?format=hdf5").status_code == 404


def test_results_are_asked_for_rightly(client: TestClient) -> None:
    number = send(client).json()["id"]
    finished(client, number)
    for query, line in {
        "format=exe": "no format 'exe'",
        "format=png&z=1": "no section 1; the picture has 1",
    }.items():
        answer = client.get(f"/api/pictures/{number}/result?{query}")
        assert answer.status_code == 400 and line in answer.text
    assert client.get(f"/api/pictures/{number}/section?kind=raw&z=-1").status_code == 422


def test_the_page_has_no_script_of_its_own_in_it(client: TestClient) -> None:
    page = client.get("/pictures")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script>" not in page.text and "onclick" not in page.text and "style=" not in page.text
    for name in ("pictures.js", "panes.js", "pictures.css"):
        assert client.get(f"/pictures/files/{name}").status_code == 200
    assert client.get("/pictures/files/routes.py").status_code == 404
    assert client.get("/pictures/files/..%2froutes.py").status_code == 404


# What results look like.


def test_colours_are_an_objects_own_and_unlike_those_of_its_neighbours() -> None:
    colours = colours_of(np.arange(200, dtype=np.uint32)).astype(int)
    assert colours[0].tolist() == [0, 0, 0] and (colours[1:].max(axis=1) >= 185).all()
    assert (np.abs(np.diff(colours[1:], axis=0)).sum(axis=1) > 60).all()
    assert len({tuple(each) for each in colours.tolist()}) == 200


def test_the_picture_shows_where_there_are_no_objects() -> None:
    section = Section(grey(4, 6), np.zeros((4, 6), np.uint32))
    np.testing.assert_array_equal(overlay(section), np.repeat(section.raw[..., None], 3, axis=2))
    section.objects[1, 1] = 7
    shown = overlay(section, 0.5)[1, 1].astype(int)
    expected = (colours_of(np.array([7]))[0] + float(section.raw[1, 1])) / 2
    np.testing.assert_allclose(shown, expected, atol=1)


def test_a_tiff_of_objects_has_the_voxel_size(tmp_path: Path) -> None:
    objects = np.arange(60, dtype=np.uint32).reshape(3, 4, 5) * 70_000
    write_result(tmp_path / "r.h5", grey(3, 4, 5), objects, (30.0, 4.0, 5.0))
    save_tiff(tmp_path / "r.h5", tmp_path / "r.tif")
    with tifffile.TiffFile(tmp_path / "r.tif") as file:
        np.testing.assert_array_equal(np.stack([page.asarray() for page in file.pages]), objects)
        x, y = (file.pages.first.tags[name].value for name in ("XResolution", "YResolution"))
        assert (1e7 / (x[0] / x[1]), 1e7 / (y[0] / y[1])) == pytest.approx((5, 4))


@pytest.mark.parametrize("sections, expected", [(1, (8, 8)), (16, (0, 1)), (17, (0, 0)), (40, (0, 0))])
def test_thin_pictures_are_continued_to_the_depth_of_the_field_of_view(
    sections: int, expected: tuple[int, int]
) -> None:
    assert padding_of(sections, 17) == expected


# The real worker.


@pytest.mark.slow
def test_a_bright_bar_is_found_in_a_single_section(tmp_path: Path) -> None:
    section = np.full((40, 44), 60, np.uint8)
    section[12:28, :] = 190
    section = (section + np.random.default_rng(1).integers(-8, 9, section.shape)).astype(np.uint8)
    wanted = Wanted("phantom", match=True, min_segment_size=50)
    Job("0" * 16, "ada", "bar.png", wanted, JobState.RUNNING, 0.0).save(tmp_path)
    (tmp_path / "upload").write_bytes(png(section))
    said = worker(tmp_path, MOST)
    assert said[-1] == {"done": True}, said
    values = {name: value for each in said for name, value in each.items()}
    assert values["shape"] == [1, 40, 44] and values["objects"] >= 1 and values["progress"] == 1.0
    assert "a single section is taken to go on unchanged above and below" in values["notes"]
    found = read_section(tmp_path / "result.h5", 0)
    np.testing.assert_array_equal(found.raw, section)
    inside = found.objects[16:24, 4:-4]
    largest = np.bincount(inside.ravel())[1:].max()
    assert largest > 0.9 * inside.size


def test_a_picture_narrower_than_the_field_of_view_is_refused(tmp_path: Path) -> None:
    Job("0" * 16, "ada", "a.png", WANTED, JobState.RUNNING, 0.0).save(tmp_path)
    (tmp_path / "upload").write_bytes(png(grey(40, 9)))
    assert (
        "smaller than the field of view of 17 x 17; give a larger picture"
        in worker(tmp_path, MOST)[-1]["error"]
    )


def test_a_refused_picture_is_the_workers_last_word(tmp_path: Path) -> None:
    Job("0" * 16, "ada", "a.png", WANTED, JobState.RUNNING, 0.0).save(tmp_path)
    (tmp_path / "upload").write_bytes(png(grey(40, 40)))
    out = io.StringIO()
    assert main(tmp_path, 100, out) == 1
    last = json.loads(out.getvalue().splitlines()[-1])
    assert last["error"].startswith("a picture of 1 x 40 x 40 voxels")


def test_a_worker_ends_with_its_server(tmp_path: Path) -> None:
    """Its standard input closes when the server is gone, however that ended."""
    Job("0" * 16, "ada", "a.png", WANTED, JobState.RUNNING, 0.0).save(tmp_path)
    os.mkfifo(tmp_path / "upload")
    process = subprocess.Popen(
        [sys.executable, "-m", "proofreading.pictures.worker", str(tmp_path), "100"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdin is not None
    assert b"reading" in process.stdout.readline()
    process.stdin.close()
    assert process.wait(20) == 3
    process.stdout.close()


def test_pictures_load_no_network_library_in_the_server() -> None:
    code = (
        "import sys, proofreading.pictures.routes, proofreading.pictures.queue as q; "
        "from proofreading.pictures.routes import networks; networks(); "
        "print(sorted({'tensorflow', 'keras', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
