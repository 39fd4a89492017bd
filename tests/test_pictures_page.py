"""The page of pictures in a real browser: by keys alone, both sides together, and no inline code."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from PIL import Image

from proofreading.pictures import PictureLimits, PictureQueue
from proofreading.pictures.routes import picture_routes

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium"),
]

POLICY = "default-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'"
# A worker that finds two halves in three sections.
STAND_IN = """
import json, sys, time
from pathlib import Path
import numpy as np
from proofreading.pictures.worker import write_result
folder = Path(sys.argv[1])
say = lambda **values: print(json.dumps(values), flush=True)
say(stage="segmenting", progress=0.25, shape=[3, 40, 60])
if "slow" in json.loads((folder / "job.json").read_text())["name"]:
    time.sleep(60)
raw, objects = np.full((3, 40, 60), 90, np.uint8), np.ones((3, 40, 60), np.uint32)
objects[:, :, 30:] = 2
raw[1] = 180
write_result(folder / "result.h5", raw, objects, (10.0, 10.0, 10.0))
say(objects=2, progress=1.0)
say(done=True)
"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    command = (sys.executable, str(tmp_path / "stand_in.py"))
    queue = PictureQueue(tmp_path / "jobs", PictureLimits(), command=command)
    app = FastAPI()
    person = SimpleNamespace(name="ada")
    app.include_router(picture_routes(lambda: queue, lambda: person, lambda: person))

    @app.middleware("http")
    async def with_policy(request: Request, call_next: Any) -> Response:
        answer: Response = await call_next(request)
        answer.headers["Content-Security-Policy"] = POLICY
        return answer

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    queue.close()


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.wrong = []
        page.on("console", lambda told: page.wrong.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.goto(f"{address}/pictures")
        page.wait_for_selector("#network option", state="attached")
        yield page
        with contextlib.suppress(sync_api.Error):
            browser.close()


def upload(page: Any, name: str = "a.png") -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((40, 60), 90, np.uint8)).save(buffer, "PNG")
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": buffer.getvalue()})
    page.focus("#submit")
    page.keyboard.press("Enter")


def pixels(page: Any, canvas: str) -> np.ndarray:
    found = Image.open(io.BytesIO(page.locator(f"#{canvas}").screenshot())).convert("RGB")
    return np.array(found)[4:-4, 4:-4].astype(int)


def covered(image: np.ndarray) -> np.ndarray:
    """Where a canvas shows the picture, which is brighter than what is around it."""
    found: np.ndarray = image.sum(axis=2) > 120
    return found


def test_a_picture_is_segmented_looked_at_and_saved_by_keys(page: Any) -> None:
    upload(page)
    page.wait_for_selector("#panes:not([hidden])")
    page.wait_for_selector("text=3 × 40 × 60 voxels (z, y, x), 2 objects")
    page.wait_for_selector("#raw[aria-label='Picture a.png, section 1']")
    raw, objects = pixels(page, "raw"), pixels(page, "objects")
    # Grey on the left, two colours on the right, at the same place.
    assert (np.ptp(raw[covered(raw)], axis=1) == 0).all()
    assert len(np.unique(objects[covered(objects)], axis=0)) >= 2
    assert (covered(raw) == covered(objects)).mean() > 0.99
    page.focus("#raw")
    fitted = page.inner_text("#zoom-shown")
    for _ in range(3):
        page.keyboard.press("-")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#zoom-shown") != fitted
    smaller = covered(pixels(page, "raw"))
    assert 0 < smaller.mean() < covered(raw).mean()
    assert (smaller == covered(pixels(page, "objects"))).mean() > 0.99
    page.keyboard.press("0")
    assert page.inner_text("#zoom-shown") == fitted
    page.keyboard.press("PageDown")
    page.wait_for_selector("#raw[aria-label='Picture a.png, section 2']")
    assert pixels(page, "raw")[covered(pixels(page, "raw"))].mean() < raw[covered(raw)].mean()
    page.keyboard.press("c")
    assert (np.ptp(pixels(page, "objects"), axis=2) <= 6).all()
    with page.expect_download() as download:
        page.focus("[data-format=tiff]")
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "a_phantom.tif"
    assert page.wrong == []


def test_the_wheel_zooms_both_sides_about_the_pointer(page: Any) -> None:
    upload(page)
    page.wait_for_selector("#raw[aria-label]")
    box = page.locator("#objects").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -900)
    page.wait_for_timeout(100)
    left, right = pixels(page, "raw"), pixels(page, "objects")
    assert covered(left).mean() > 0.95 and covered(right).mean() > 0.95
    # So near to the left edge there is only the left one of the two objects.
    hues = np.unique(right.reshape(-1, 3), axis=0)
    assert len(hues[np.ptp(hues, axis=1) > 20]) == 1


def test_a_picture_under_way_shows_how_far_it_is_and_can_be_cancelled(page: Any) -> None:
    upload(page, "slow.png")
    page.wait_for_selector("text=segmenting, 25 % filled")
    assert page.locator("#progress").get_attribute("value") == "0.25"
    page.focus("#cancel")
    page.keyboard.press("Enter")
    page.wait_for_selector("#list .state.cancelled")
    assert page.is_hidden("#progress-box")
    page.focus("#list button[aria-label='Remove slow.png']")
    page.keyboard.press("Enter")
    page.wait_for_selector("#list-empty:not([hidden])")
    assert page.wrong == []


def test_what_is_refused_is_said_where_one_looks(page: Any) -> None:
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"GIF89a.."})
    page.click("#submit")
    page.wait_for_selector("#form-error:not(:empty)")
    assert page.is_enabled("#submit")


def test_every_control_has_a_name_and_is_reached_by_tab(page: Any) -> None:
    upload(page)
    page.wait_for_selector("#raw[aria-label]")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, select, canvas")].filter((each) =>
          each.offsetParent !== null && !each.labels?.length && !each.getAttribute("aria-label")
          && !each.textContent.trim()).map((each) => each.outerHTML)"""
    )
    assert nameless == []
    reached = set()
    page.focus("#file")
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id"))
    wanted = {"network", "submit", "raw", "objects", "section", "opacity", "zoom-in", "zoom-out", "fit"}
    assert wanted <= reached


def test_nothing_is_cut_off_at_1280_by_800(page: Any) -> None:
    upload(page)
    page.wait_for_selector("#raw[aria-label]")
    beyond = page.evaluate(
        """() => [...document.querySelectorAll("#view *, aside *")].filter((each) => {
          const box = each.getBoundingClientRect();
          return box.width && (box.right > innerWidth + 1 || box.bottom > innerHeight + 1);
        }).map((each) => each.id || each.className || each.tagName)"""
    )
    assert beyond == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
