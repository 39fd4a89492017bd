"""Renders the tissue of a phantom as an electron micrograph: grey values, blur, noise, defects.

Grey values follow FIB-SEM of stained tissue (dark membranes on light cytoplasm, about mean 130 and
standard deviation 33 of 255). Everything that is not a cell membrane but looks like one is there on
purpose: endoplasmic reticulum, mitochondria with cristae, vesicles, nuclear envelopes. A method
that only follows dark lines must fail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from volumes._phantom_tissue import Grid, Tissue


@dataclass(frozen=True)
class Structures:
    """Distance fields (nm, float32 zyx, negative inside) and masks of what lies within the cells."""

    mitochondria_nm: np.ndarray
    vesicles_nm: np.ndarray
    synapses_nm: np.ndarray
    nucleus_nm: np.ndarray
    vessel: np.ndarray
    myelin: np.ndarray


def _line(distance_nm: np.ndarray, width_nm: float) -> np.ndarray:
    """A soft dark line of Gaussian profile around distance 0: 1 on it, 0 away."""
    return np.exp(-((distance_nm / width_nm) ** 2))


def _cytoplasm(tissue: Tissue, rng: np.random.Generator) -> np.ndarray:
    grid = tissue.grid
    shade = rng.normal(158.0, 7.0, size=int(tissue.tree.max()) + 1).astype(np.float32)
    grey = shade[tissue.tree]
    grey += 7.0 * grid.noise(rng, 14.0)
    grey += 4.0 * grid.noise(rng, 60.0)
    return grey


def _reticulum(tissue: Tissue, rng: np.random.Generator) -> np.ndarray:
    """Sheets and tubules of endoplasmic reticulum, 0 … 1: dark, thin, and not a border of the cell."""
    grid = tissue.grid
    sheets = _line(grid.noise(rng, 45.0), 0.16)
    patches = grid.noise(rng, 110.0) > 0.75
    return sheets * patches * (tissue.membrane_nm > 24.0)


def _mitochondria(grid: Grid, inside_nm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What mitochondria take from the grey: matrix, double membrane, cristae."""
    cristae = 0.5 + 0.5 * np.sin(3.2 * grid.noise(rng, 45.0) + 2.0 * grid.noise(rng, 20.0))
    within = inside_nm < 0
    return 40.0 * _line(inside_nm, 8.0) + within * (30.0 + 26.0 * cristae)


def _nucleus(grid: Grid, nucleus_nm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    within = nucleus_nm < -12.0
    chromatin = np.clip(grid.noise(rng, 55.0), 0, 2)
    return 45.0 * _line(nucleus_nm, 9.0) + within * (22.0 * chromatin - 6.0)


def render(tissue: Tissue, structures: Structures, contrast: float, rng: np.random.Generator) -> np.ndarray:
    """Noise-free grey values (float32 zyx) of the tissue; `contrast` scales the cell membranes."""
    grid = tissue.grid
    grey = _cytoplasm(tissue, rng)
    grey -= 34.0 * _reticulum(tissue, rng)
    grey -= _mitochondria(grid, structures.mitochondria_nm, rng)
    rim = _line(structures.vesicles_nm, 7.0)
    grey -= 42.0 * rim
    grey -= _nucleus(grid, structures.nucleus_nm, rng)
    grey = np.where(
        structures.vessel & (tissue.membrane_nm > 38.0), 205.0 + 2.0 * grid.noise(rng, 30.0), grey
    )
    lamellae = 0.72 + 0.28 * np.cos(2 * np.pi * tissue.membrane_nm / 17.0)
    grey = np.where(structures.myelin, 62.0 + 30.0 * (1 - lamellae), grey)
    strength = contrast * np.clip(0.92 + 0.12 * grid.noise(rng, 50.0), 0.65, 1.15)
    grey -= 88.0 * strength * _line(tissue.membrane_nm, 12.0)
    density = _line(np.maximum(structures.synapses_nm, 0), 30.0) * _line(tissue.membrane_nm, 24.0)
    return (grey - 45.0 * density).astype(np.float32)


def section(grey: np.ndarray, slices_per_section: int) -> np.ndarray:
    """Averages groups of thin slices (z) into the sections that are imaged."""
    if slices_per_section == 1:
        return grey
    return grey.reshape(-1, slices_per_section, *grey.shape[1:]).mean(axis=1)


def image(
    grey: np.ndarray,
    noise: float,
    blur_nm: float,
    voxel_size_nm: tuple[float, float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Grey values as recorded: point spread, shot and detector noise, uint8."""
    lateral = blur_nm / np.array(voxel_size_nm)
    seen = ndimage.gaussian_filter(grey, lateral)
    seen += noise * (0.6 + 0.4 * seen / 150.0) * rng.standard_normal(seen.shape, dtype=np.float32)
    return np.clip(np.rint(seen), 1, 255).astype(np.uint8)


def spoil(raw: np.ndarray, missing: int, dark: int, shifted: int, rng: np.random.Generator) -> np.ndarray:
    """Puts defects into distinct sections: missing (all 0), dark (half the grey), shifted (in y, x)."""
    sections = rng.permutation(np.arange(2, len(raw) - 2))[: missing + dark + shifted]
    spoilt = raw.copy()
    spoilt[sections[:missing]] = 0
    for z in sections[missing : missing + dark]:
        spoilt[z] = (0.5 * spoilt[z]).astype(np.uint8)
    for z in sections[missing + dark :]:
        spoilt[z] = np.roll(spoilt[z], tuple(rng.integers(-6, 7, size=2)), axis=(0, 1))
    return spoilt
