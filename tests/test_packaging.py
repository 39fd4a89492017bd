"""What an installation brings and needs: every package, the data they read, and nothing that is not used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from setuptools import Distribution
from source_tree import NOT_INSTALLED, REPOSITORY, imports, modules, packages, top_packages

from configs.proto import reconstruction_pb2

# Distributions whose name is not that of the module they bring.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "cc3d": "connected-components-3d",
    "cloudfiles": "cloud-files",
    "cloudvolume": "cloud-volume",
    "google": "protobuf",
    "grpc_tools": "grpcio-tools",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
DATA = {".css", ".ffn.h5", ".html", ".js", ".json", ".proto", ".pyi", ".svg", ".textproto", "py.typed"}


@pytest.fixture(scope="module")
def distribution() -> Distribution:
    """What setup.py declares, read without installing."""
    from distutils.core import run_setup

    here = Path.cwd()
    os.chdir(REPOSITORY)
    try:
        return run_setup("setup.py", stop_after="init")
    finally:
        os.chdir(here)


def requirements(distribution: Distribution) -> dict[str, Requirement]:
    return {need.name: need for need in map(Requirement, distribution.install_requires)}


def test_every_package_of_the_tree_is_installed_but_tests_benchmarks_and_docs(
    distribution: Distribution,
) -> None:
    assert sorted(distribution.packages) == packages()
    assert not {name.partition(".")[0] for name in distribution.packages} & NOT_INSTALLED


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent.relative_to(REPOSITORY) for name in top_packages() for path in modules(name)}
    assert {".".join(folder.parts) for folder in folders} == set(packages())


def test_every_package_says_that_it_is_typed() -> None:
    assert [name for name in top_packages() if not (REPOSITORY / name / "py.typed").is_file()] == []


def test_dependencies_are_those_that_are_imported(distribution: Distribution) -> None:
    ours, optional = set(top_packages()), set()
    for extra in distribution.extras_require.values():
        optional |= {Requirement(line).name for line in extra}
    foreign = {found.top for name in ours for path in modules(name) for found in imports(path)}
    foreign -= ours | set(sys.stdlib_module_names) | {"__future__"}
    needed = {DISTRIBUTIONS.get(name, name) for name in foreign}
    declared = set(requirements(distribution))
    assert needed - declared - optional == set(), "imported, but not declared in setup.py"
    assert declared - needed == set(), "declared in setup.py, but imported nowhere"


def test_dependencies_have_a_lower_bound_and_no_other(distribution: Distribution) -> None:
    lines = [line for extra in distribution.extras_require.values() for line in extra]
    for need in map(Requirement, [*distribution.install_requires, *lines]):
        assert [bound.operator for bound in need.specifier] == [">="], str(need)
    assert str(distribution.python_requires) == ">=3.10"


def test_what_tests_and_benchmarks_import_is_declared(distribution: Distribution) -> None:
    files = [path for name in ("tests", "benchmarks") for path in (REPOSITORY / name).glob("*.py")]
    known = {path.stem for path in files} | {"tests", "benchmarks", *top_packages(), *sys.stdlib_module_names}
    foreign = {found.top for path in files for found in imports(path)} - known
    extras = map(Requirement, distribution.extras_require["test"])
    declared = set(requirements(distribution)) | {need.name for need in extras}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} - declared == set()


def test_the_oldest_releases_are_those_of_the_lower_bounds(distribution: Distribution) -> None:
    """The file is what the suite was last run with in one environment; see its own first lines."""
    lines = (REPOSITORY / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if not line.startswith("#")]
    bounds = requirements(distribution) | {
        need.name: need for need in map(Requirement, distribution.extras_require["test"])
    }
    left_out = {"grpcio-tools", "mypy", "ruff"}
    assert {need.name for need in pinned} == set(bounds) - left_out
    for need in pinned:
        assert str(need.specifier).replace("==", ">=") == str(bounds[need.name].specifier)


def test_the_oldest_protobuf_accepts_the_generated_code(distribution: Distribution) -> None:
    generated = Path(reconstruction_pb2.__file__).read_text(encoding="utf-8")
    written_by = re.search(r"Protobuf Python Version: (\S+)", generated)
    assert written_by is not None
    (oldest,) = requirements(distribution)["protobuf"].specifier
    assert oldest.version.split(".")[:2] == written_by[1].split(".")[:2]


def test_every_command_has_its_entry(distribution: Distribution) -> None:
    for script in distribution.entry_points["console_scripts"]:
        module, _, function = script.partition("=")[2].partition(":")
        assert callable(getattr(import_module(module), function)), script


@pytest.mark.slow
def test_a_wheel_holds_every_module_and_its_data_and_no_tests(tmp_path: Path) -> None:
    inside = set(zipfile.ZipFile(build_wheel(tmp_path)).namelist())
    expected = {
        path.relative_to(REPOSITORY).as_posix()
        for name in top_packages()
        for path in (REPOSITORY / name).rglob("*")
        if path.suffix == ".py" or any(path.name.endswith(ending) for ending in DATA)
    }
    metadata = {name for name in inside if ".dist-info/" in name}
    assert inside - metadata == expected
    assert any(name.endswith("LICENSE") for name in metadata)


def build_wheel(folder: Path) -> Path:
    """Builds from a copy, since a build writes into the tree it builds from."""
    tree = folder / "tree"
    tree.mkdir()
    for name in (*top_packages(), "tests", "docs", "benchmarks"):
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tree / name)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(tree)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("ffn_reconstruction-*.whl")
    return wheel


def test_make_lists_every_target_it_has() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    listed = re.findall(r'^\techo "make (\w+) ', makefile, re.MULTILINE)
    assert sorted(listed) == sorted(set(phony.split()) - {"help"})


def test_the_integration_runs_what_a_desk_runs() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "make test"
