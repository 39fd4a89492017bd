"""google/ffn's requests as they come from a shell or a file, in terms of this system.

Inputs: text in protobuf's text format, x, y, z. Outputs: frozen views with z, y, x vectors, boxes as
(start, stop), volumes as the specs that `volumes.open_volume` takes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from configs.errors import ConfigError
from configs.loading import Zyx, box_bounds, load_text
from configs.parsing import parse_text
from configs.proto import google_ffn_pb2
from configs.views import ConfigView

# By tensorstore driver: the scheme of the spec that opens the same volume here.
_DRIVERS = {"zarr": "zarr", "zarr3": "zarr3", "n5": "n5", "neuroglancer_precomputed": "precomputed"}
_BUCKETS = {"gcs": "gs", "s3": "s3"}


def parse_inference_request(text_or_path: str | os.PathLike[str]) -> ConfigView:
    """Read a google/ffn `InferenceRequest`.

    Args:
        text_or_path: the request itself, as a shell passes it with `"$(cat request.pbtxt)"`, or a file.

    Returns:
        A view of the request. Vectors are turned to z, y, x; `model_args` keeps its x, y, z JSON.

    Raises:
        ConfigError: an unreadable file or text that does not fit the schema.
    """
    return _parsed(text_or_path, google_ffn_pb2.InferenceRequest, "inference request")


def parse_resegmentation_request(text_or_path: str | os.PathLike[str]) -> ConfigView:
    """Read a google/ffn `ResegmentationRequest`.

    Args:
        text_or_path: the request itself, or a file, as `parse_inference_request` takes them.

    Returns:
        A view of the request. Vectors are turned to z, y, x.

    Raises:
        ConfigError: an unreadable file or text that does not fit the schema.
    """
    return _parsed(text_or_path, google_ffn_pb2.ResegmentationRequest, "resegmentation request")


def pair_result(**fields: Any) -> ConfigView:
    """A google/ffn `PairResegmentationResult`.

    Args:
        **fields: its fields; vectors are z, y, x, messages mappings.

    Returns:
        A view; its text speaks x, y, z.

    Raises:
        ConfigError: an unknown field, or a value of another type.
    """
    return ConfigView(google_ffn_pb2.PairResegmentationResult()).replace(**fields)


def endpoint_result(overlaps: Mapping[int, tuple[int, int]], **fields: Any) -> ConfigView:
    """A google/ffn `EndpointResegmentationResult`.

    Args:
        overlaps: voxels shared with, and of, each object by its ID.
        **fields: the other fields; vectors are z, y, x, messages mappings.

    Returns:
        A view; its text speaks x, y, z.

    Raises:
        ConfigError: an unknown field, or a value of another type.
    """
    message: Any = ConfigView(google_ffn_pb2.EndpointResegmentationResult()).replace(**fields).to_message()
    for name, (shared, original) in overlaps.items():
        message.overlaps[name].num_overlapping = shared
        message.overlaps[name].num_original = original
    return ConfigView(message)


def parse_bounding_box(text: str) -> tuple[Zyx, Zyx]:
    """Read a google/ffn `BoundingBox`, such as `start { x: 0 y: 0 z: 0 } size { x: 64 y: 64 z: 64 }`.

    Args:
        text: the box in text format, x, y, z, in voxels.

    Returns:
        Start and stop, both z, y, x; the stop is excluded.

    Raises:
        ConfigError: text that is no box, or a size below 1 on some axis.
    """
    return box_bounds(ConfigView(parse_text(text, google_ffn_pb2.BoundingBox, "bounding box")))


def volume_spec(volume: ConfigView) -> str:
    """The volume spec that a google/ffn `DecoratedVolume` stands for.

    Args:
        volume: a view of the message.

    Returns:
        A spec for `volumes.open_volume`.

    Raises:
        ConfigError: a volinfo file or decorators, which only Google's internal store knows, or a tensorstore
            spec that says more than driver and place.
    """
    if volume.volinfo or volume.decorator_specs:
        name = "volinfo" if volume.volinfo else "decorator_specs"
        raise ConfigError(
            f"DecoratedVolume.{name} belongs to a store that is not public; "
            "give the volume as hdf5, tensorstore, precomputed, zarr or spec"
        )
    if volume.tensorstore:
        return _spec_of_tensorstore(json.loads(volume.tensorstore))
    if volume.precomputed:
        return f"precomputed://{_url(volume.precomputed.removeprefix('precomputed://'))}"
    if volume.zarr:
        return f"zarr://{volume.zarr.removeprefix('zarr://')}"
    spec: str = volume.hdf5 or volume.spec
    return spec


def _parsed(text_or_path: str | os.PathLike[str], message_type: type[Message], name: str) -> ConfigView:
    if isinstance(text_or_path, str) and _is_message_text(text_or_path):
        return ConfigView(parse_text(text_or_path, message_type, name))
    return load_text(text_or_path, message_type)


def _spec_of_tensorstore(spec: dict[str, Any]) -> str:
    """Only driver and place carry over: a transform, say, would change which axis is which."""
    scheme = _DRIVERS.get(spec.get("driver", ""))
    beyond = sorted(set(spec) - {"driver", "kvstore"})
    if scheme is None or beyond:
        problem = f"driver {spec.get('driver')!r}" if scheme is None else f"'{beyond[0]}'"
        raise ConfigError(
            f"DecoratedVolume.tensorstore cannot be opened with {problem}; keep driver and kvstore alone "
            f"(drivers: {', '.join(_DRIVERS)}), or give the volume as hdf5, precomputed, zarr or spec"
        )
    return f"{scheme}://{_url(_place(spec.get('kvstore')))}"


def _place(store: object) -> str:
    """Path or URL of a tensorstore kvstore."""
    if isinstance(store, str) and store:
        return store
    if isinstance(store, dict) and store.get("path"):
        driver, path = store.get("driver"), str(store["path"])
        if driver == "file":
            return path
        if driver in _BUCKETS and store.get("bucket"):
            return f"{_BUCKETS[driver]}://{store['bucket']}/{path.lstrip('/')}"
    raise ConfigError(
        'DecoratedVolume.tensorstore has no usable kvstore; write a URL such as "file:///dir", or '
        'driver "file", "gcs" or "s3" with path (and bucket)'
    )


def _url(place: str) -> str:
    return place if "://" in place else Path(place).expanduser().resolve().as_uri()


def _is_message_text(text: str) -> bool:
    """A message has a brace, a colon or a second line, or is empty; a path has none of them."""
    return not text.strip() or any(sign in text for sign in "{:\n")
