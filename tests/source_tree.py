"""What the tests of the house's structure read: packages, their modules, and the imports in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from setuptools import find_packages

REPOSITORY = Path(__file__).resolve().parent.parent
NOT_INSTALLED = {"benchmarks", "docs", "tests"}


@dataclass(frozen=True)
class Import:
    """One import statement's module: `name` as written, the line, and whether it runs on import."""

    name: str
    line: int
    at_module_level: bool

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


def packages() -> list[str]:
    """Dotted names of all packages in the tree that are meant to be installed, by directory."""
    found = find_packages(str(REPOSITORY), exclude=[f"{name}*" for name in NOT_INSTALLED])
    return sorted(name for name in found if not name.startswith((".", "build", "out")))


def top_packages() -> list[str]:
    return [name for name in packages() if "." not in name]


def modules(package: str) -> list[Path]:
    """The Python files of a top-level package, generated ones left out."""
    return sorted(path for path in (REPOSITORY / package).rglob("*.py") if not path.name.endswith("_pb2.py"))


def imports(path: Path) -> list[Import]:
    """Every import in a file; those inside functions and under TYPE_CHECKING are not at module level."""
    return list(_imports(ast.parse(path.read_text(encoding="utf-8")), True))


def _imports(node: ast.AST, at_module_level: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, at_module_level)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno} imports relatively; name the package"
            yield Import(child.module or "", child.lineno, at_module_level)
        else:
            yield from _imports(child, at_module_level and not _is_deferred(child))


def _is_deferred(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
