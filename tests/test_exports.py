"""Each package's `__all__` is its front door: sorted, true, and what `from package import *` gives."""

from __future__ import annotations

import ast
import importlib

import pytest
from source_tree import REPOSITORY, packages

PACKAGES = [name for name in packages() if name != "configs.proto"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_in_one_sentence_what_it_is(package: str) -> None:
    opening = (importlib.import_module(package).__doc__ or "").strip().split("\n\n")[0]
    assert opening.endswith("."), f"the docstring of {package} opens with no sentence: {opening!r}"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_names_a_package_offers_are_sorted_and_exist(package: str) -> None:
    module = importlib.import_module(package)
    offered = getattr(module, "__all__", [])
    assert list(offered) == sorted(set(offered))
    assert [name for name in offered if getattr(module, name, None) is None] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_in_a_front_door_is_offered(package: str) -> None:
    path = REPOSITORY.joinpath(*package.split("."), "__init__.py")
    body = ast.parse(path.read_text(encoding="utf-8")).body
    named = {
        alias.asname or alias.name
        for node in body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in PACKAGES
        for alias in node.names
    }
    named |= {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    public = {name for name in named if not name.startswith("_")}
    assert public <= set(getattr(importlib.import_module(package), "__all__", []))
