"""Reading configs from files and from the package, and writing the resolved one.

A config is looked for as a path first and then among those that ship with the package, so that
`--config demo` works from any directory. Paths inside a config are relative to the working directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from google.protobuf.message import Message

from configs.errors import ConfigError
from configs.locations import scan
from configs.parsing import parse_text
from configs.proto import google_ffn_pb2, reconstruction_pb2
from configs.views import ConfigView

Zyx = tuple[int, int, int]

SUFFIX = ".textproto"
_SHIPPED = Path(__file__).parent


def load_config(path: str | os.PathLike[str], *, require: Iterable[str] = ()) -> ConfigView:
    """Load a project's settings.

    Args:
        path: a file, or the name of a config that ships with the package (`demo`).
        require: sections the caller cannot do without; "raw|phantom" asks for one of the two, and not both.

    Returns:
        A view of `ReconstructionConfig`, defaults filled in.

    Raises:
        ConfigError: no such file, text that does not fit the schema, a missing section, or both of two.
    """
    found = find_config(path)
    text = _read_file(found)
    config = ConfigView(parse_text(text, reconstruction_pb2.ReconstructionConfig, str(found)))
    for section in require:
        _require_section(config, section, str(found), text)
    return config


def load_text(path: str | os.PathLike[str], message_type: type[Message]) -> ConfigView:
    """Load any message of the schema from a text-format file.

    Args:
        path: the file, UTF-8.
        message_type: a generated message class, such as `google_ffn_pb2.ConsensusRequest`.

    Returns:
        A view of the message, defaults filled in.

    Raises:
        ConfigError: an unreadable file or text that does not fit the schema.
    """
    return ConfigView(parse_text(_read_file(Path(path)), message_type, str(path)))


def box_bounds(box: ConfigView) -> tuple[Zyx, Zyx]:
    """Start and stop of a `BoxZyx` or a google/ffn `BoundingBox`.

    Args:
        box: a view of either message.

    Returns:
        Start and stop in voxels, both z, y, x; the stop is excluded.
    """
    extent = box.size if isinstance(box.to_message(), google_ffn_pb2.BoundingBox) else box.shape
    (z, y, x), (depth, height, width) = box.start, extent
    return (z, y, x), (z + depth, y + height, x + width)


def region_boxes(inference: ConfigView) -> list[tuple[Zyx, Zyx]]:
    """The boxes an `Inference` section asks for.

    Args:
        inference: a view of the section.

    Returns:
        Start and stop of each in voxels, both z, y, x, the stop excluded; none stands for the whole volume.

    Raises:
        ConfigError: `boxes` and one of `box` and `bounding_box` are both given.
    """
    box = inference.box or inference.bounding_box
    if box is not None and inference.boxes:
        name = "box" if inference.box is not None else "bounding_box"
        raise ConfigError(
            f"inference.{name} and inference.boxes are both given; make inference.{name} one of the boxes"
        )
    return [box_bounds(each) for each in ([box] if box is not None else inference.boxes)]


def region_bounds(inference: ConfigView) -> tuple[Zyx, Zyx] | None:
    """The region an `Inference` section asks for, from the lowest to the highest corner of its boxes.

    Args:
        inference: a view of the section.

    Returns:
        Start and stop in voxels, both z, y, x, the stop excluded; None stands for the whole volume.

    Raises:
        ConfigError: see `region_boxes`.
    """
    boxes = region_boxes(inference)
    if not boxes:
        return None
    z, y, x = (min(axis) for axis in zip(*(start for start, _ in boxes), strict=True))
    depth, height, width = (max(axis) for axis in zip(*(stop for _, stop in boxes), strict=True))
    return (z, y, x), (depth, height, width)


def find_config(name: str | os.PathLike[str]) -> Path:
    """Find a config by its path or by the name it ships under.

    Args:
        name: a path, or `demo` for the `demo.textproto` of the package.

    Returns:
        A path to an existing file.

    Raises:
        ConfigError: there is neither; the message lists what ships.
    """
    path = Path(name)
    shipped = _SHIPPED / f"{name}{SUFFIX}"
    if path.is_file():
        return path
    if path.name == str(name) and shipped.is_file():
        return shipped
    names = ", ".join(sorted(file.stem for file in _SHIPPED.glob(f"*{SUFFIX}")))
    problem = "is a directory, not a config file" if path.is_dir() else "does not exist"
    raise ConfigError(f"{name} {problem}; give the path of a *{SUFFIX} file or one of {names}")


def save_resolved(config: ConfigView, path: str | os.PathLike[str]) -> None:
    """Write a config with all its defaults; the file appears whole or not at all.

    Args:
        config: any view.
        path: the file to write; its directory is made when missing.

    Raises:
        jobs.PieceError: the directory cannot be written to.
    """
    # Not at the top: jobs takes its error base from this package, so either could be imported first.
    from jobs.pieces import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_text(config.to_text(), encoding="utf-8")


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file (byte {error.start} is not UTF-8)") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def _require_section(config: ConfigView, section: str, source: str, text: str) -> None:
    """Refuses a config without a section, or, of "a|b", with neither or both."""
    names = section.split("|")
    given = [name for name in names if getattr(config, name) is not None]
    if len(given) == 1:
        return
    if given:
        raise ConfigError(
            f"{source}: {' and '.join(given)} are both given, and this command takes one of them; leave "
            f"{' or '.join(given)} out"
        )
    wanted = " or ".join(f"'{name}'" for name in names)
    raise ConfigError(
        f"{source}: this command needs the section {wanted}, which is missing; "
        f"add {names[0]} {{ … }} (sections there: {', '.join(_written_sections(config, text)) or 'none'})"
    )


def _written_sections(config: ConfigView, text: str) -> list[str]:
    """The sections that stand in a text; a config has more, made of defaults."""
    written = {place.name.text for place in scan(text) if len(place.path) == 1}
    fields = config.to_message().DESCRIPTOR.fields
    return [field.name for field in fields if field.message_type is not None and field.name in written]
