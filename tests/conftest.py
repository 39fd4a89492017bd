"""What every test may use: the shared EM data, and hypothesis with few examples.

`HYPOTHESIS_PROFILE=thorough` searches longer and at random; the default profile is repeatable.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What is started in the background of a shell ignores interrupts, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("fast", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def shared_folder() -> Path | None:
    """The folder of real EM data (`data/`) and checkpoints (`models/`), or None where there is none."""
    folder = Path(os.environ.get("FFN_SHARED", REPOSITORY.parent / "shared"))
    return folder.resolve() if (folder / "data").is_dir() else None


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree under test."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The shared folder: `shared_data / "data" / "….h5"`, `shared_data / "models" / …`; skips without it."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("no shared data: put it beside the repository as ../shared or set FFN_SHARED")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a CUDA device where there is none."""
    if shutil.which("nvidia-smi"):
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device here (nvidia-smi not found)"))
