"""Every setting of the system: one protobuf schema, loaded into validated, frozen views."""

from __future__ import annotations

from configs.errors import ConfigError, ReconstructionError
from configs.loading import (
    box_bounds,
    find_config,
    load_config,
    load_text,
    region_bounds,
    save_resolved,
)
from configs.requests import (
    parse_bounding_box,
    parse_inference_request,
    parse_resegmentation_request,
    volume_spec,
)
from configs.views import ConfigView

__all__ = [
    "ConfigError",
    "ConfigView",
    "ReconstructionError",
    "box_bounds",
    "find_config",
    "load_config",
    "load_text",
    "parse_bounding_box",
    "parse_inference_request",
    "parse_resegmentation_request",
    "region_bounds",
    "save_resolved",
    "volume_spec",
]
