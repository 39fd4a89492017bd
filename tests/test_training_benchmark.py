"""The benchmark of training runs, and its figures hang together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import training
from ffn.network import Architecture

TINY = Architecture(depth=1, features=2, fov_zyx=(7, 7, 7), deltas_zyx=(2, 2, 2))


@pytest.mark.slow
def test_benchmark_writes_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "DEFAULT", TINY)
    output = tmp_path / "out" / "training.json"
    options = ["--steps", "9", "--turn", "2", "--batch", "2", "--edge", "48", "--json", str(output)]
    training.main(options)
    rows = json.loads(output.read_text())["rows"]
    assert [(row["augmentation"], row["read_threads"]) for row in rows] == [
        ("default", 0),
        ("default", 1),
        ("everything", 0),
        ("everything", 1),
    ]
    for row in rows:
        assert row["steps"] == 9 - 3 and 0 < row["waiting"] < 1
        assert row["ratio"] == pytest.approx(row["training_fovs_per_s"] / row["bare_fovs_per_s"])
        assert row["bare_ms"] == pytest.approx(1e3 / row["bare_fovs_per_s"])
    assert len(capsys.readouterr().out.splitlines()) == 2 + 4
