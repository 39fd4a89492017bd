"""The proofreading server under a crowd, and what it does with large projects.

    python -m benchmarks.proofreading --clients 50 --think 2 --seconds 600 --json out/proofreading.json
    python -m benchmarks.proofreading --kills 20 --database postgresql+psycopg://user@host/empty
    python -m benchmarks.proofreading --parts graph
    python -m benchmarks.proofreading --parts page --answers 60

`crowd` starts `proofread serve` on a project of 20,000 supervoxels and 5,000 open pairs, lets simulated
people work at it, kills it if asked to, and compares the database with what was acknowledged
(`benchmarks.proofreading_checks`). Times are what a client waited, its own work included; answers that the
server was killed in are left out. `graph` opens the state of a project of 10⁶ merges, one neuron of which has
10⁵ supervoxels, and cuts that neuron. `page` answers by key in headless Chromium, which measures from the
answer to the next task (`benchmarks.proofreading_page`; Chromium and Playwright are needed, and it is run
only if named). Exit code 1 when anything is not as acknowledged.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.proofreading_graph import graph_row
from benchmarks.proofreading_load import Load, Outcome, put_to
from benchmarks.proofreading_page import page_row
from benchmarks.proofreading_project import make_project

PARTS = ("crowd", "graph", "page")
_BY_ITSELF = "crowd,graph"
_PERCENTILES = (50, 95, 99)


def crowd_row(load: Load, supervoxels: int, open_pairs: int, database: str) -> dict[str, Any]:
    """The figures of a crowd.

    Args:
        load: the crowd.
        supervoxels: of the project.
        open_pairs: of the project, about.
        database: URL of an empty one; without it a file.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = make_project(
            Path(folder) / "project",
            supervoxels=supervoxels,
            neurons=supervoxels // 5,
            open_pairs=open_pairs,
            url=database,
            seed=load.seed,
        )
        outcome = put_to(config, load, _say)
    return {**vars(load), "supervoxels": supervoxels, "open_pairs": open_pairs, **figures(outcome)}


def figures(outcome: Outcome) -> dict[str, Any]:
    """What a crowd saw, in numbers.

    Args:
        outcome: of the crowd.
    """
    journal = outcome.journal
    answered = [each for each in journal.answers if each.status == 200]
    row: dict[str, Any] = {
        "answers": len(answered),
        "settled": sum(each.settled for each in answered),
        "edits": sum(each.edit is not None for each in answered),
        "answers_per_s": len(answered) / outcome.wall_s,
        "statuses": {str(status): count for status, count in sorted(journal.statuses.items())},
        "lost": journal.lost,
        "wall_s": outcome.wall_s,
        "start_s": outcome.start_seconds,
        "load_average": os.getloadavg()[1],
        "findings": outcome.findings,
    }
    if outcome.cpu_s is not None:
        row["server_cpu_ms_per_request"] = outcome.cpu_s / max(journal.statuses.total(), 1) * 1e3
    for name, seconds in journal.seconds.items():
        if seconds:
            row[f"{name}_ms"] = dict(
                zip(map(str, _PERCENTILES), np.percentile(seconds, _PERCENTILES) * 1e3, strict=True)
            )
    return row


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it from the command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=_BY_ITSELF, help="of " + ", ".join(PARTS))
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--think", type=float, default=2.0, help="seconds before an answer, on average")
    parser.add_argument("--seconds", type=float, default=600.0, help="without what starts take")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--supervoxels", type=int, default=20_000)
    parser.add_argument("--open", type=int, default=5_000, help="pairs that are left open")
    parser.add_argument("--database", default="", help="URL of an empty database; default: SQLite")
    parser.add_argument("--edges", type=int, default=1_000_000, help="merges of the large project")
    parser.add_argument("--answers", type=int, default=60, help="at the page")
    parser.add_argument("--json", type=Path, default=Path("out/proofreading.json"))
    options = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    parts = options.parts.split(",")
    if "crowd" in parts:
        load = Load(options.clients, options.think, options.seconds, options.kills, options.seed)
        found["crowd"] = crowd_row(load, options.supervoxels, options.open, options.database)
    if "graph" in parts:
        found["graph"] = graph_row(options.edges, options.seed)
    if "page" in parts:
        found["page"] = page_row(options.answers, options.think, options.seed, _say)
    text = json.dumps(found, indent=2)
    print(text)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(text + "\n")
    return 1 if found.get("crowd", {}).get("findings") else 0


if __name__ == "__main__":
    sys.exit(main())
