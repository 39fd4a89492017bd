"""A package imports from its own floor and those below, and a network library only where one runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from source_tree import NOT_INSTALLED, REPOSITORY, Import, imports, modules, top_packages

FLOORS = {
    "configs": 1,
    "volumes": 1,
    "jobs": 1,
    "evaluation": 2,
    "tissue": 2,
    "ffn": 2,
    "inference": 3,
    "agglomeration": 4,
    "proofreading": 5,
    "commands": 6,
}
# One module runs networks on a backend and one trains them; one more reads a file that only TensorFlow knows.
NAMES_A_BACKEND = {"ffn/backend.py", "ffn/training/engine.py", "ffn/tf1_checkpoint.py"}
BACKENDS = {"jax", "tensorflow", "torch"}
NETWORK_LIBRARIES = {*BACKENDS, "keras"}
WITHOUT_NETWORKS = sorted(set(top_packages()) - {"ffn", "tissue"}, key=FLOORS.__getitem__)


def offences(package: str, is_offence: Callable[[Path, Import], bool]) -> list[str]:
    return [
        f"{path.relative_to(REPOSITORY)}:{found.line} imports {found.name}"
        for path in modules(package)
        for found in imports(path)
        if is_offence(path, found)
    ]


def test_every_package_has_a_floor() -> None:
    assert set(top_packages()) <= set(FLOORS)


@pytest.mark.parametrize("package", top_packages())
def test_a_package_imports_only_from_its_own_floor_and_below(package: str) -> None:
    def is_above(path: Path, found: Import) -> bool:
        return found.top in NOT_INSTALLED or FLOORS.get(found.top, 0) > FLOORS[package]

    assert offences(package, is_above) == []


@pytest.mark.parametrize("package", top_packages())
def test_few_modules_name_a_keras_backend(package: str) -> None:
    def names_one(path: Path, found: Import) -> bool:
        return found.top in BACKENDS and path.relative_to(REPOSITORY).as_posix() not in NAMES_A_BACKEND

    assert offences(package, names_one) == []


@pytest.mark.parametrize("package", top_packages())
def test_no_module_loads_a_network_library_when_imported(package: str) -> None:
    def loads_one(path: Path, found: Import) -> bool:
        return found.at_module_level and found.top in NETWORK_LIBRARIES

    assert offences(package, loads_one) == []


def test_importing_every_other_module_loads_no_network_library() -> None:
    """Read from a running interpreter, since a dependency may import what we do not."""
    names = [
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        for package in WITHOUT_NETWORKS
        for path in modules(package)
    ]
    assert loaded_by(names, NETWORK_LIBRARIES) == set()


def test_the_lowest_front_doors_open_without_the_heavy_formats() -> None:
    assert loaded_by(["configs", "jobs", "volumes"], {"cloudvolume", "tensorstore"}) == set()


def loaded_by(names: list[str], suspects: set[str]) -> set[str]:
    """Which of the suspected modules are loaded once the named ones were imported, each with its culprit."""
    program = (
        "import importlib, sys\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        f"    for found in {suspects} & set(sys.modules):\n"
        "        print(f'{name} loads {found}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines())
