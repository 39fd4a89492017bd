"""Every public function and class says what it is, and a function of several arguments what each of them is.

Public is what lies at the top of a module where neither its name nor the module's begins with an underscore.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from source_tree import REPOSITORY, modules, top_packages

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(path: Path) -> Iterator[Definition]:
    if any(part.startswith("_") and part != "__init__.py" for part in path.relative_to(REPOSITORY).parts):
        return
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node


def documented(docstring: str) -> set[str]:
    """The names that begin an entry of the section `Args:`; several share one, separated by commas."""
    lines = iter(docstring.splitlines())
    entries = []
    for line in lines:
        if line.strip() == "Args:":
            for entry in lines:
                if entry.strip() and not entry.startswith(" "):
                    break
                entries.append(entry)
    section = textwrap.dedent("\n".join(entries)).splitlines()
    heads = [line.partition(":")[0] for line in section if ":" in line and not line.startswith(" ")]
    return {name.strip(" *") for head in heads for name in head.split(",")}


def undocumented(node: Definition) -> list[str]:
    """What a definition does not say: "docstring", or the arguments it leaves out."""
    docstring = ast.get_docstring(node)
    if not docstring:
        return ["docstring"]
    if isinstance(node, ast.ClassDef):
        return []
    given = node.args
    stars = [star for star in (given.vararg, given.kwarg) if star is not None]
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, *stars)]
    return [] if len(names) < 2 else [name for name in names if name not in documented(docstring)]


@pytest.mark.parametrize("package", top_packages())
def test_public_functions_and_classes_say_what_they_are_and_take(package: str) -> None:
    missing = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name}: {', '.join(lacking)}"
        for path in modules(package)
        for node in public(path)
        if (lacking := undocumented(node))
    ]
    assert missing == []


def test_what_is_not_said_is_noticed() -> None:
    source = '''
def silent(): ...
def brief(one): "Does it."
def partial(one, two, *three, four=4):
    """Does it.

    Args:
        one, two: numbers,
            such as four: 4.

    Returns:
        four: a number.
    """
class Silent: ...
'''
    found = {node.name: undocumented(node) for node in ast.parse(source).body if isinstance(node, Definition)}
    assert found == {
        "silent": ["docstring"],
        "brief": [],
        "partial": ["four", "three"],
        "Silent": ["docstring"],
    }
