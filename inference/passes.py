"""The passes of a config, ready to run: network, image at the pass's resolution, settings.

A pass is one segmentation of the whole region: resolution x seed order x whatever else it sets. Coarse passes
see the raw volume resampled by whole factors (or a coarser scale that is there). Passes are combined in two
ways: one may fill what an earlier one left empty (`fill_from`), and the consensus folds several into one.

Source: Januszewski et al. 2018, doi:10.1038/s41592-018-0049-4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from configs import ConfigError, ConfigView
from ffn.flood import FloodOptions
from ffn.tf1_checkpoint import import_checkpoint
from ffn.weights import NetworkFile, NetworkInfo, load_network
from inference.grey_statistics import changed_image, make_statistics
from inference.subject import PassSettings
from volumes import Box, Volume, VolumeError, open_volume, whole_factors
from volumes.box import Zyx
from volumes.derived import resampled, to_coarse

_AS_TRAINED = 0.25


@dataclass(frozen=True)
class ResolvedPass:
    """One pass.

    Attributes:
      name: names its directory.
      network: weights and architecture.
      image: what it floods, at its resolution.
      factors: voxels of the raw volume in one of its own, z, y, x.
      settings: resolved.
      fill_from: name of the pass whose objects are there before; None = none.
      fill_min_size: only its objects of so many voxels of the raw volume.
    """

    name: str
    network: NetworkFile
    image: Volume
    factors: Zyx
    settings: PassSettings
    fill_from: str | None = None
    fill_min_size: int = 1

    @property
    def is_coarse(self) -> bool:
        """Whether it works at a coarser resolution than the raw volume."""
        return self.factors != (1, 1, 1)

    def own_box(self, box: Box) -> Box:
        """The pass's voxels that cover a box of the raw volume."""
        return to_coarse(box, self.factors)

    def raw_box(self, box: Box) -> Box:
        """The raw voxels of a box of the pass."""
        start = [n * f for n, f in zip(box.start, self.factors, strict=True)]
        return Box.from_shape([n * f for n, f in zip(box.shape, self.factors, strict=True)], start)


class Fold(NamedTuple):
    """A consensus to be made: its stage's name and the passes folded, in order."""

    name: str
    passes: tuple[str, ...]


def read_network(section: ConfigView) -> NetworkFile:
    """The network of a config's `network` section: a network file, a shipped one, or a google/ffn checkpoint.

    Raises:
      WeightsError: it cannot be used.
    """
    if section.weights is not None:
        return load_network(section.weights)
    source = section.checkpoint
    return import_checkpoint(
        source.model_checkpoint_path,
        source.model_name,
        source.model_args,
        image_mean=source.image_mean,
        image_stddev=source.image_stddev,
        init_activation=source.init_activation,
        pad_value=source.pad_value,
        move_threshold=source.move_threshold,
        segment_threshold=source.segment_threshold,
        voxel_size_nm=None if source.voxel_size_nm is None else tuple(source.voxel_size_nm),
        licence=source.licence or "",
    )


def resolve_passes(config: ConfigView, raw: Volume) -> list[ResolvedPass]:
    """All passes of a config, in its order.

    Args:
      config: with `inference`; `network` may be missing when every pass has its own.
      raw: the raw volume.

    Raises:
      ReconstructionError: a network that cannot be used, a resolution that is no whole multiple, a seed
        policy or arguments of one that do not exist, a pass to fill from that does not come before or whose
        voxels do not fit this one's.
    """
    networks: dict[str, NetworkFile] = {}
    passes: list[ResolvedPass] = []
    changed = changed_image(raw, config)
    for named in config.inference.passes:
        _check_fill(named, [each.name for each in passes])
        section = config.network if named.network is None else named.network
        if section is None:
            raise ConfigError(
                f"pass {named.name!r} has no network; give it one, or a `network` for all passes"
            )
        key = section.replace(image_mean=None, image_stddev=None).to_text()
        if key not in networks:
            networks[key] = read_network(section)
        passes.append(_resolve(config, named, section, networks[key], changed))
        _check_grids(passes)
    return passes


def make_pass_statistics(config: ConfigView, passes: Iterable[ResolvedPass], region: Box) -> list[str]:
    """Makes what the preprocessing of passes has to know of their images, once for all workers.

    Args:
      config: of the project.
      passes: those that will run.
      region: what they segment, voxels of the raw volume.

    Returns:
      A line about each damaged file that was made anew.

    Raises:
      ReconstructionError: see `inference.grey_statistics.make_statistics`.
    """
    images = []
    for each in passes:
        radius = tuple(n // 2 for n in each.settings.options.fov_zyx)
        images.append((each.image, each.own_box(region).grow(radius)))
    return make_statistics(config, images)


def resolve_folds(config: ConfigView, passes: list[ResolvedPass]) -> list[Fold]:
    """The consensus of a project: none of a single pass.

    Passes of the raw resolution that filled nothing make the stage `consensus`; all of them together, if
    there are others, the stage `multiresolution`.

    Args:
      config: of the project.
      passes: all of them, in the order they run.

    Raises:
      ConfigError: `consensus.passes` names one that does not exist, one twice, or one alone.
    """
    by_name = {each.name: each for each in passes}
    _check_folded(config.consensus.passes, list(by_name))
    names = tuple(config.consensus.passes) or _not_filled_from(passes)
    plain = tuple(n for n in names if not by_name[n].is_coarse and by_name[n].fill_from is None)
    folds = [Fold("consensus", plain), Fold("multiresolution", names)]
    return [fold for fold in folds if len(fold.passes) > 1 and (fold.name == "consensus" or names != plain)]


def pass_cautions(passes: list[ResolvedPass], preprocessing: ConfigView) -> list[str]:
    """What is allowed and probably not meant: a resolution or grey values unlike those of the training.

    Args:
      passes: all of them.
      preprocessing: the config's section.

    Returns:
      One line for each.
    """
    lines = []
    for each in passes:
        trained, given = each.network.info.voxel_size_nm, each.image.voxel_size_nm
        if trained is not None and not np.allclose(trained, given, rtol=_AS_TRAINED):
            lines.append(
                f"pass {each.name!r}: the network was trained at voxels of {trained} nm, this image has "
                f"{given} nm (z, y, x)"
            )
        seen = each.network.info.training.get("preprocessing")
        if seen is not None and seen != preprocessing.to_text():
            lines.append(
                f"pass {each.name!r}: the network was trained on images preprocessed otherwise; its file "
                "states how"
            )
    return lines


def _check_fill(named: ConfigView, earlier: list[str]) -> None:
    if named.fill_from is not None and named.fill_from not in earlier:
        raise ConfigError(
            f"pass {named.name!r} fills from {named.fill_from!r}, which is no pass before it; before it "
            f"come: {', '.join(earlier) or 'none'}"
        )


def _check_folded(asked: Sequence[str], names: list[str]) -> None:
    unknown = [name for name in asked if name not in names]
    wrong = {
        f"names {', '.join(map(repr, unknown))}, which is no pass": unknown,
        "names a pass twice": len(set(asked)) < len(asked),
        "names one pass alone, which is no consensus": len(asked) == 1,
    }
    for what, holds in wrong.items():
        if holds:
            raise ConfigError(f"consensus.passes {what}; the passes are {', '.join(names)}")


def _check_grids(passes: list[ResolvedPass]) -> None:
    """Refuses the last pass if it fills from one whose voxels are no multiple or part of its own."""
    by_name, last = {each.name: each for each in passes}, passes[-1]
    if last.fill_from is None:
        return
    own, other = last.factors, by_name[last.fill_from].factors
    if any(max(pair) % min(pair) for pair in zip(own, other, strict=True)):
        raise ConfigError(
            f"pass {last.name!r}, {own} raw voxels to one (z, y, x), fills from {last.fill_from!r}, {other} "
            "to one; along each axis one has to be a whole multiple of the other"
        )


def _not_filled_from(passes: list[ResolvedPass]) -> tuple[str, ...]:
    sources = {each.fill_from for each in passes}
    return tuple(each.name for each in passes if each.name not in sources)


def _resolve(
    config: ConfigView, named: ConfigView, section: ConfigView, network: NetworkFile, finest: Volume
) -> ResolvedPass:
    image = _image(config, named, finest)
    factors = whole_factors(finest.voxel_size_nm, image.voxel_size_nm, f"pass {named.name!r}")
    return ResolvedPass(
        named.name,
        network,
        image,
        factors,
        _settings(config, named, section, network.info, image).resolved(),
        named.fill_from,
        named.fill_min_size,
    )


def _image(config: ConfigView, named: ConfigView, finest: Volume) -> Volume:
    """What a pass floods: the preprocessed raw volume, resampled, or an image of its own."""
    if named.image is None:
        return finest if named.voxel_size_nm is None else resampled(finest, tuple(named.voxel_size_nm))
    image = _open_scale(named)
    if named.voxel_size_nm is not None and not np.allclose(
        image.voxel_size_nm, named.voxel_size_nm, rtol=1e-3
    ):
        raise ConfigError(
            f"pass {named.name!r} works at {tuple(named.voxel_size_nm)} nm, but its image has "
            f"{image.voxel_size_nm} nm (z, y, x); leave out one of the two"
        )
    return changed_image(image, config)


def _open_scale(named: ConfigView) -> Volume:
    """The image of a pass, which has the size the pass states where its file says nothing."""
    spec, stated = named.image.spec, named.image.voxel_size_nm
    if stated is not None or named.voxel_size_nm is None:
        return open_volume(spec, voxel_size_nm=stated and tuple(stated))
    try:
        return open_volume(spec)
    except VolumeError:
        # Whatever else is wrong with it shows again.
        return open_volume(spec, voxel_size_nm=tuple(named.voxel_size_nm))


def flood_options(options: ConfigView, info: NetworkInfo) -> FloodOptions:
    """How objects are flooded: as a config says, and where it says nothing as the network was trained.

    Args:
      options: the message `FloodOptions`.
      info: of the network.
    """

    def chosen(name: str) -> float:
        asked = getattr(options, name)
        return float(getattr(info, name) if asked is None else asked)

    return FloodOptions(
        fov_zyx=info.architecture.fov_zyx,
        deltas_zyx=info.architecture.deltas_zyx,
        init_activation=chosen("init_activation"),
        pad_value=chosen("pad_value"),
        move_threshold=chosen("move_threshold"),
        segment_threshold=chosen("segment_threshold"),
        disco_seed_threshold=options.disco_seed_threshold,
        min_boundary_dist_zyx=options.min_boundary_dist,
        min_segment_size=options.min_segment_size,
    )


def _settings(
    config: ConfigView, named: ConfigView, section: ConfigView, info: NetworkInfo, image: Volume
) -> PassSettings:
    """The settings of one pass: the config's where it says something, else the network's own."""
    options = config.inference.options if named.options is None else named.options
    mean, stddev = section.image_mean, section.image_stddev
    return PassSettings(
        options=flood_options(options, info),
        image_mean=info.image_mean if mean is None else mean,
        image_stddev=info.image_stddev if stddev is None else stddev,
        reversed_seeds=named.seed_order == "reversed",
        seed_policy=named.seed_policy,
        seed_policy_args=named.seed_policy_args or "{}",
        seed_voxel_size_nm=image.voxel_size_nm,
        mirror_margin=config.inference.edge_context == "mirror",
        compute_dtype=config.inference.compute_dtype,
    )
