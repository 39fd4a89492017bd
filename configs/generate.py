"""Regenerate the Python code of the schema after a change to a `*.proto`; for developers.

    make proto

Generated code runs on the protobuf release it was made for and on every later one, never on an earlier one.
It is therefore made with the oldest compiler of protobuf 6, and another one is refused. `SHA256SUMS` beside
the generated files records what belongs together, so that stale code is found without a compiler.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

GENCODE_VERSION = "6.30.0"
COMPILER = "grpcio-tools==1.72.*"

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "configs" / "proto"
SUMS = FOLDER / "SHA256SUMS"


def fingerprint(folder: Path = FOLDER) -> str:
    """Digests of the schema and of the code made from it.

    Args:
        folder: where the `*.proto` and the generated files lie.

    Returns:
        One line per file, "<sha256>  <name>", by name, as `sha256sum` writes it. Line ends do not count.
    """
    files = sorted([*folder.glob("*.proto"), *folder.glob("*_pb2.py"), *folder.glob("*_pb2.pyi")])
    return "".join(f"{_digest(file)}  {file.name}\n" for file in files)


def compile_schema(target: Path) -> None:
    """Run protoc over the schema.

    Args:
        target: an existing directory; the generated files go to `configs/proto` in it, and the descriptors of
            all files, with what they import, to `schema.binpb`.

    Raises:
        ModuleNotFoundError: grpcio-tools is not installed.
        RuntimeError: protoc refused a file; it has printed why.
    """
    compiler = importlib.util.find_spec("grpc_tools")
    if compiler is None or compiler.origin is None:
        raise ModuleNotFoundError("no module named 'grpc_tools'")
    wellknown = Path(compiler.origin).parent / "_proto"
    sources = [str(file.relative_to(ROOT)) for file in sorted(FOLDER.glob("*.proto"))]
    outputs = [f"--python_out={target}", f"--pyi_out={target}", f"--descriptor_set_out={target}/schema.binpb"]
    includes = [f"-I{ROOT}", f"-I{wellknown}", "--include_imports"]
    # In a process of its own: the compiler and TensorFlow bring copies of the same C++ libraries.
    if subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *includes, *outputs, *sources]).returncode:
        raise RuntimeError("protoc refused the schema")


def main() -> int:
    """Regenerate the code in place.

    Returns:
        0, or 2 when the compiler is missing, is another release, or refused the schema.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            compile_schema(Path(folder))
        except (ModuleNotFoundError, RuntimeError) as error:
            print(f"error: {error}; this needs {COMPILER}", file=sys.stderr)
            return 2
        generated = sorted(Path(folder).rglob("*_pb2.py*"))
        versions = {version for file in generated for version in _versions(file)}
        if versions != {GENCODE_VERSION}:
            found = ", ".join(sorted(versions))
            print(f"error: this compiler makes code for protobuf {found}; use {COMPILER}", file=sys.stderr)
            return 2
        for file in generated:
            shutil.copyfile(file, FOLDER / file.name)
    SUMS.write_text(fingerprint(), encoding="utf-8")
    print(
        f"regenerated {len(generated)} files in {FOLDER.relative_to(ROOT)} for protobuf >= {GENCODE_VERSION}"
    )
    return 0


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _versions(file: Path) -> list[str]:
    return re.findall(r"^# Protobuf Python Version: (\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main())
