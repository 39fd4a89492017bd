"""How long the page takes from an answer to the next task, in headless Chromium.

The project is a grid of blocks in an image of noise, each a supervoxel; neighbours in a row are open. The
tasks ahead are fetched while the person thinks, as at work. The page itself measures (`performance.measure`)
from the key to the panel with the next question, and to the viewer having drawn it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from agglomeration.database import open_database
from agglomeration.decisions import ScoredEdges, decide, write_scored_edges
from agglomeration.merging import apply_constraint
from agglomeration.runs import finish_run, start_run, write_supervoxels
from benchmarks.proofreading_server import Server, enrol
from inference.supervoxel_table import block_statistics
from proofreading.migrations import bring_up_to_date
from volumes import Box
from volumes.pyramid import create_pyramid, fill_scale, next_factors

MEASURES = ("answer-to-panel", "answer-to-next")
_VOXEL_NM = (8.0, 8.0, 8.0)
_ROWS, _COLUMNS, _EDGE = 12, 12, 32
_FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
_WINDOW = {"width": 1280, "height": 800}
_PATIENCE_MS = 120_000


def page_row(
    answers: int, think_s: float, seed: int, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """The figures of a person at the page.

    Args:
        answers: that are given, "no" by key; at most as many as there are tasks, 132.
        think_s: before each, from the moment that two more tasks are ready.
        seed: of the image.
        say: told how far it is.
    """
    with TemporaryDirectory() as folder:
        config = _make_project(Path(folder), seed)
        server = Server(config, Path(folder) / "errors.log")
        try:
            server.start()
            with open_database(Path(folder) / "out/decisions.sqlite") as database:
                bring_up_to_date(database)
                cookies = enrol(database, 1, server.port)
            found = _work(server.address, next(iter(cookies.values())), answers, think_s, say)
        finally:
            server.kill()
    row: dict[str, Any] = {"answers": answers, "think_s": think_s, "load_average": os.getloadavg()[1]}
    for name, durations in found.items():
        p50, p95 = np.percentile(durations, (50, 95))
        row[f"{name}_ms"] = {"50": p50, "95": p95, "count": len(durations)}
    return row


def _work(
    address: str, cookie: dict[str, str], answers: int, think_s: float, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Answers tasks; gives what the page measured, ms."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(_FLAGS))
        context = browser.new_context(viewport=_WINDOW)  # type: ignore[arg-type]
        context.set_default_timeout(_PATIENCE_MS)
        context.add_cookies(
            [{"name": name, "value": value, "url": address} for name, value in cookie.items()]
        )
        page = context.new_page()
        page.goto(f"{address}/")
        page.wait_for_selector("body[data-drawn]")
        for number in range(answers):
            page.wait_for_selector("#ahead:has-text('2 more ready')")
            page.wait_for_timeout(1000 * think_s)
            task = page.get_attribute("body", "data-task")
            page.keyboard.press("n")
            page.wait_for_selector(f'body[data-drawn]:not([data-drawn="{task}"])')
            if number % 10 == 9:
                say(f"{number + 1} answers")
        durations = "(name) => performance.getEntriesByName(name).map((each) => each.duration)"
        found = {name: page.evaluate(durations, name) for name in MEASURES}
        browser.close()
    return found


def _make_project(folder: Path, seed: int) -> Path:
    """Writes it; gives the path of its config."""
    labels = np.zeros((_EDGE + 8, _EDGE * _ROWS + 8, _EDGE * _COLUMNS + 8), np.uint64)
    pairs, points = [], []
    for number in range(_ROWS * _COLUMNS):
        row, column = divmod(number, _COLUMNS)
        y, x = 4 + _EDGE * row, 4 + _EDGE * column
        labels[4:-4, y : y + _EDGE - 2, x : x + _EDGE] = number + 1
        if column:
            pairs.append((number, number + 1))
            points.append((4.0 + _EDGE / 2, y + _EDGE / 2, float(x)))
    grey = np.random.default_rng(seed).integers(90, 160, labels.shape).astype(np.uint8)
    layers: dict[str, np.ndarray] = {"supervoxels": labels}
    layers["image"] = np.where(labels > 0, grey, 40).astype(np.uint8)
    for name, array in layers.items():
        spec, bounds = f"precomputed://file://{folder / 'out' / name}", Box.from_shape(labels.shape)
        fine, coarse = create_pyramid(
            spec, bounds=bounds, dtype=array.dtype, voxel_size_nm=_VOXEL_NM, scales=2
        )
        fine.write(bounds, array)
        fill_scale(fine, coarse, next_factors(_VOXEL_NM), coarse.bounds)
    with open_database(folder / "out/decisions.sqlite") as database:
        write_supervoxels(database, block_statistics(labels, (0, 0, 0)), _VOXEL_NM, "benchmark")
        run = start_run(database, "benchmark", "", {})
        write_scored_edges(database, run, _open_pairs(np.array(pairs), np.array(points) * _VOXEL_NM))
        apply_constraint(database, run)
        finish_run(database, run)
    path = folder / "project.textproto"
    path.write_text(
        f'name: "page" output_dir: "{folder / "out"}" raw {{ spec: "{folder}/out/image" }}\n'
        'network { weights: "builtin:phantom" } inference { }\n'
        "agglomeration { } proofreading { port: 0 min_length_nm: 1e6 }\n"
    )
    return path


def _open_pairs(pairs: np.ndarray, points_nm: np.ndarray) -> ScoredEdges:
    """Pairs of supervoxels, (m, 2), that the agglomeration left open, seen at these points, (m, 3)."""
    certainty = np.full(len(pairs), 0.3)
    state, accepted_by = decide(certainty > 1, None)
    a, b = pairs.astype(np.uint64).T
    return ScoredEdges(
        a, b, points_nm, {"iou": certainty}, np.full(len(pairs), np.nan), certainty, accepted_by, state
    )
