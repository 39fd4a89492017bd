"""How much of a training is optimisation: fields of view per second of it, over those of a bare step.

    python -m benchmarks.training --json out/training.json

A training of a phantom runs as `train_ffn` runs it: examples, augmentation, the moving field of view, moving
average, log. A bare step is one optimisation step of the same network on tensors that stay in place. Both are
in one process and take turns, so that what the machine does meanwhile hits both alike: after every `--turn`
steps of the training come as many bare ones, with an engine of their own, whose time is left out of the
training's. Threads may prepare `READ_AHEAD` examples meanwhile, about as many as one step uses up, so that
little of their work hides in the turns of the bare steps.

`ratio` is asked to be 0.9 or more. `waiting` is the share of the training's time between two steps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.fov_throughput import machine
from benchmarks.stopwatch import Clock
from ffn.backend import COMPUTE_DTYPES, resolve_compute_dtype
from ffn.network import Architecture, build_network
from ffn.training import trainer
from ffn.training.augmentation import Augmentation
from ffn.training.engine import PendingStep, Trainable
from ffn.training.example_settings import ExampleSettings
from ffn.training.optimisers import OptimizerSettings, make_optimizer
from ffn.training.train_settings import TrainSettings
from ffn.training.trainer import train
from ffn.training.training_volume import TrainingVolume
from volumes.arrays import ArrayVolume
from volumes.phantom import PhantomSpec, make_phantom

DEFAULT = Architecture(8, 16, fov_zyx=(17, 17, 17), deltas_zyx=(5, 5, 5))
SMALL = Architecture(4, 8, fov_zyx=(13, 13, 13), deltas_zyx=(4, 4, 4))
_WARM_UP = 3  # steps of each kind before the clocks start
READ_AHEAD = 5
# All that there is, as strong as one would have it for a difficult volume.
EVERYTHING = Augmentation(
    noise=0.2, section_contrast=0.1, section_brightness=0.1, missing_section=0.02, dark_section=0.02,
    out_of_focus_section=0.05, slip=0.1, salt_and_pepper=0.01, blur_voxels=0.7, elastic=0.3,
)  # fmt: skip


@dataclass
class Turns:
    """The clocks of a training that stops after every `turn` steps for bare ones."""

    turn: int
    steps: int = 0
    started: float = 0.0
    bare_s: list[float] = field(default_factory=list)
    stepping: Clock = field(default_factory=Clock)
    apart: Clock = field(default_factory=Clock)

    @property
    def seconds(self) -> float:
        """Of the training itself, since the warm-up."""
        return time.perf_counter() - self.started - self.apart.seconds


class TimedEngine(Trainable):
    """The engine of the training that is timed; another one makes the bare steps."""

    turns: Turns
    bare: Trainable

    def submit(self, *fields: Any) -> PendingStep:
        turns = self.turns
        if turns.steps == _WARM_UP:
            turns.started, turns.stepping, turns.apart = time.perf_counter(), Clock(), Clock()
        if turns.steps >= _WARM_UP and turns.steps % turns.turn == 0:
            with turns.apart:
                turns.bare_s += [self._bare_step(fields) for _ in range(turns.turn)]
        elif turns.steps < _WARM_UP:
            self._bare_step(fields)
        turns.steps += 1
        with turns.stepping:
            updated, counts = super().submit(*fields).result()
        return PendingStep(updated, np.array(counts))

    def _bare_step(self, fields: Sequence[Any]) -> float:
        started = time.perf_counter()
        self.bare.submit(*fields).result()
        return time.perf_counter() - started


def measure(
    architecture: Architecture,
    volume: TrainingVolume,
    settings: TrainSettings,
    turn: int,
) -> dict[str, float]:
    """The figures of one training."""
    TimedEngine.turns = turns = Turns(turn)
    TimedEngine.bare = Trainable(
        build_network(architecture, settings.compute_dtype), make_optimizer(settings.optimizer)
    )
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(trainer, "Trainable", TimedEngine):
        train(architecture, [volume], [1.0], settings, Path(folder))
        seconds = turns.seconds
    steps, size = turns.steps - _WARM_UP, settings.batch_size
    bare_s = mean(turns.bare_s)
    return {
        "steps": steps,
        "training_fovs_per_s": steps * size / seconds,
        "bare_fovs_per_s": size / bare_s,
        "ratio": steps * bare_s / seconds,
        "waiting": 1 - turns.stepping.seconds / seconds,
        "bare_ms": 1e3 * bare_s / size,
    }


def print_table(architecture: Architecture, rows: list[dict[str, Any]]) -> None:
    size = "x".join(map(str, architecture.fov_zyx))
    print(f"{size}, {architecture.depth} modules x {architecture.features}")
    columns = ("fov/s", "bare fov/s", "ratio", "waiting", "bare ms")
    print(f"{'augmentation':14s}{'threads':>9s}" + "".join(f"{c:>12s}" for c in columns))
    for row in rows:
        cells = (f"{row['training_fovs_per_s']:.1f}", f"{row['bare_fovs_per_s']:.1f}", f"{row['ratio']:.3f}",
                 f"{row['waiting']:.1%}", f"{row['bare_ms']:.2f}")  # fmt: skip
        print(f"{row['augmentation']:14s}{row['read_threads']:9d}" + "".join(f"{c:>12s}" for c in cells))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=120, help="of each training")
    parser.add_argument("--turn", type=int, default=8, help="steps from one turn of bare ones to the next")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", default="0,1", help="that prepare examples, comma-separated")
    parser.add_argument("--compute_dtype", choices=["auto", *COMPUTE_DTYPES], default="float32")
    parser.add_argument("--edge", type=int, default=96, help="of the phantom in voxels")
    parser.add_argument("--quick", action="store_true", help="a small network, for a minute")
    parser.add_argument("--json", type=Path, default=Path("out/training.json"))
    options = parser.parse_args(arguments)
    architecture = SMALL if options.quick else DEFAULT
    if options.quick:
        options.steps, options.turn, options.edge = 40, 5, 64
    phantom = make_phantom(PhantomSpec(shape=(options.edge,) * 3, seed=7))
    rows = []
    for name, augmentation in {"default": Augmentation(), "everything": EVERYTHING}.items():
        examples = ExampleSettings(
            min_object_voxels=800, image_mean=128, image_stddev=33, augmentation=augmentation
        )
        raw, labels = (ArrayVolume(a, voxel_size_nm=(10, 10, 10)) for a in (phantom.raw, phantom.labels))
        volume = TrainingVolume("phantom", raw, labels, architecture, examples)
        settings = TrainSettings(
            total_fovs=options.steps * options.batch, batch_size=options.batch, optimizer=OptimizerSettings(),
            compute_dtype=resolve_compute_dtype(options.compute_dtype), checkpoint_minutes=0,
            read_ahead=READ_AHEAD, examples=examples,
        )  # fmt: skip
        for threads in map(int, options.threads.split(",")):
            figures = measure(architecture, volume, replace(settings, read_threads=threads), options.turn)
            rows.append({"augmentation": name, "read_threads": threads, **figures})
    print_table(architecture, rows)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine(), "architecture": asdict(architecture), "rows": rows}
    options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
