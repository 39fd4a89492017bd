"""Lengths as the file formats write them, in nanometres.

Used where a format names its unit: OME-Zarr axes, N5 pixel resolutions, TIFF descriptions, SWC headers.
"""

from __future__ import annotations

_NM_PER_UNIT = {
    "angstrom": 0.1,
    "nm": 1.0,
    "nanometer": 1.0,
    "um": 1e3,
    "micron": 1e3,
    "micrometer": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "cm": 1e7,
    "centimeter": 1e7,
    "inch": 2.54e7,
    "m": 1e9,
    "meter": 1e9,
}


def nm_per_unit(unit: object) -> float | None:
    """Nanometres in one unit of this name (`nm`, `µm`, `micrometers` …); None if it is no length.

    Args:
        unit: the name as a file holds it; anything that is not text is no length.
    """
    if not isinstance(unit, str):
        return None
    # Both Unicode characters for micro are in use, and ImageJ writes the second as an escape.
    name = unit.strip().replace("\\u00B5", "u").replace("µ", "u").replace("μ", "u").lower()
    name = name.replace("metre", "meter")
    return _NM_PER_UNIT.get(name, _NM_PER_UNIT.get(name.rstrip("s")))
