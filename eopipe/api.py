"""eopipe in Python: search, open a cube, map it, plan a spec, run it.

Everything here is also reachable as ``eopipe.<name>``; importing ``eopipe`` alone loads neither torch nor dask.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, overload

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  (so that .odc works on what comes back)
import rioxarray  # noqa: F401  (so that .rio does)
import torch
import xarray as xr
from dask.delayed import delayed

from eopipe.area.on_grid import Area
from eopipe.cube.cube import Cube
from eopipe.cube.cube import open_cube as describe_cube
from eopipe.engine.cluster.resources import choose_device
from eopipe.engine.derived.rescore import changed_options, open_features
from eopipe.engine.derived.rescore import rescore as rescore_run
from eopipe.engine.derived.rethreshold import rethreshold
from eopipe.engine.derived.statistics_of_run import statistics_for
from eopipe.engine.display import Display
from eopipe.engine.plan import prompt_check
from eopipe.engine.plan.layouts import OBSERVATIONS
from eopipe.engine.plan.preview import PlannedRun
from eopipe.engine.plan.resolved_spec import THREADS, settle_options
from eopipe.engine.plan.tiles import read_box
from eopipe.engine.run import execute, plan_spec
from eopipe.engine.statistics.planning import stages_of
from eopipe.engine.work.strips import Sink, map_box
from eopipe.errors import PlanError, SpecError
from eopipe.grid import CELL, PixelBox
from eopipe.kernels import registry
from eopipe.kernels.protocol import Settling
from eopipe.spec import RunSpec, load_spec, parse_search, parse_spec, resolve_now
from eopipe.stac.search import SearchReport
from eopipe.stac.search import search as search_catalog
from eopipe.stac.signing import cube_signer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from eopipe.engine.statistics.interpolate import Statistics
    from eopipe.kernelinfo import ArraySpec
    from eopipe.kernels.protocol import FeatureSource, Kernel
    from eopipe.snapshot import Snapshot

__all__ = [
    "BoundKernel",
    "Cube",
    "PlannedRun",
    "kernel",
    "map_kernel",
    "open_cube",
    "plan",
    "rescore",
    "rethreshold",
    "run",
    "search",
]


def search(
    *,
    catalog: str,
    area: Any,
    collections: tuple[str, ...] | list[str] = (),
    datetime: str | None = None,
    now: str | None = None,
    **source: Any,
) -> tuple[Snapshot, SearchReport]:
    """Search a catalogue and freeze the items that match.

    Args:
        catalog: STAC API, static catalogue or stac-geoparquet file.
        area: ``[west, south, east, north]`` in degrees, GeoJSON, or a GeoDataFrame.
        collections: Collection ids.
        datetime: Such as ``2025-05-01/2025-09-30`` or ``P30D/now``.
        now: Time that relative dates are measured from.
        source: Further keys of a spec's ``source``: ``query``, ``filter``, ``epochs``, ``ids`` …

    Returns:
        The snapshot, and a report: items that matched, that were left out, and warnings.

    Raises:
        SpecError: An argument is wrong.
        AreaError: The area cannot be read.
        CatalogError: The catalogue cannot be reached.
    """
    written = {"catalog": catalog, "collections": list(collections), "datetime": datetime, **source}
    stated = {key: value for key, value in written.items() if value is not None}
    spec = parse_search({"area": area, "source": stated})
    assert not isinstance(spec.area, str), "area files are read"
    return search_catalog(spec.source, Area.parse(spec.area), resolve_now(now))


def open_cube(snapshot: Snapshot, *, sign: str | Callable[[str], str] = "auto", **options: Any) -> Cube:
    """Describe a cube over an area; nothing is read yet.

    Args:
        snapshot: From :func:`search`.
        sign: A signing hook, or ``auto`` (by the host that the items came from, and by signatures that
            :func:`search` kept), ``none``, ``planetary-computer``, ``keep``.
        options: ``area``, ``bands``, ``assets``, ``crs``, ``resolution``, ``composite``, ``mask``, ``modality``,
            ``sar``, ``groupby``, ``chunk``, ``requester_pays``, ``alternate``, ``threads``: see
            :func:`eopipe.cube.cube.open_cube`.

    Returns:
        A description with ``.dataset``, lazy xarray: a variable a band, ``[time, y, x]`` float32 reflectance (of
        SAR decibels), NaN where invalid, one task a chunk.

    Raises:
        SpecError: A bad argument.
        AreaError: The area cannot be placed on the grid.
        NoItemsError: The snapshot is empty.
    """
    if not callable(sign):
        origin = next((href for href in snapshot.index.column("href").to_pylist() if href), "none")
        sign = cube_signer(origin, sign)
    return describe_cube(snapshot, sign=sign, **options)


@dataclass(frozen=True)
class BoundKernel:
    """A kernel by name with its options, for :func:`map_kernel` and for data that someone edited.

    Args:
        name: Such as ``land-cover``.
        options: The kernel's own, as in a spec.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self, resolution: float) -> Kernel:
        """The kernel for a grid's resolution."""
        return registry.create(self.name, self.options, resolution=resolution)

    def settled(self, snapshot: Snapshot, resolution: float = 10.0) -> BoundKernel:
        """With values for the ``auto`` options that depend on the scenes' sensors, as a run freezes them.

        Raises:
            PlanError: The sensors need different values.
        """
        values, _ = settle_options(self.make(resolution), snapshot)
        return BoundKernel(self.name, {**self.options, **values})

    def apply(self, dataset: xr.Dataset) -> xr.Dataset:
        """Map a dataset that someone edited; halos are exchanged in memory, so no equality is promised.

        Args:
            dataset: A band a variable, ``[y, x]`` or ``[time, y, x]``, reflectance (of SAR decibels) with NaN where
                invalid, as :attr:`eopipe.Cube.dataset` gives it; loaded or lazy.

        Returns:
            The kernel's arrays on the dataset's pixels; edges see no data beyond them.

        Raises:
            SpecError: A band is missing.
            PlanError: The kernel's lattice is finer than the dataset's, or an ``auto`` option needs scenes.
        """
        step = abs(float(dataset.x[1] - dataset.x[0]))
        kernel = self.make(step)
        if isinstance(kernel, Settling) and (values := kernel.settle(())):
            name, value = next(iter(values.items()))
            raise PlanError(
                f"kernel.{name}: 'auto' is told by scenes, and a dataset names none; say it, such as {name}={value}"
            )
        _refuse_auto(kernel)
        if stages_of(kernel):
            raise PlanError(f"{self.name} needs statistics of a wider area, which a dataset has not; map a cube")
        info = kernel.info
        if info.inputs.epochs != 1:
            raise PlanError(f"{self.name} compares {info.inputs.epochs} epochs, and a dataset is one; map a cube")
        if info.factor != 1:
            raise PlanError(f"kernel.gsd: apply() maps the dataset's own pixels of {step:g}; leave gsd at 'grid'")
        missing = [band for band in info.inputs.bands if band not in dataset]
        if missing:
            raise SpecError(
                f"the dataset lacks {', '.join(missing)}; it has {', '.join(map(str, dataset.data_vars))}"
            )
        bands = dataset[list(info.inputs.bands)].to_array("band").transpose(..., "band", "y", "x")
        pixels = np.asarray(bands.values, np.float32).reshape(-1, *bands.shape[-3:])
        return _apply(kernel, pixels, dataset)


def kernel(name: str, **options: Any) -> BoundKernel:
    """Name a kernel and its options; checked at once, with a Python warning for each prompt outside its vocabulary.

    Raises:
        SpecError: No such kernel, or a bad option.
    """
    bound = BoundKernel(name, options)
    gsd = options.get("gsd")  # a grid that suits it; the cube's own is checked when the kernel maps one
    bound_kernel = bound.make(float(gsd) if isinstance(gsd, int | float) and gsd > 0 else 10.0)
    for line in prompt_check.warnings_of(bound_kernel):
        warnings.warn(line, stacklevel=2)
    return bound


def map_kernel(
    cube: Cube, kernel: BoundKernel | str, *, tile: int = 1024, statistics: str | None = None
) -> xr.Dataset:
    """Map a cube lazily: one task a tile, pixels read at the source with the kernel's halo.

    Args:
        cube: From :func:`open_cube`; its bands do not matter, the kernel reads its own.
        kernel: A name, or :func:`kernel` with options.
        tile: Side of a task's square, a multiple of 512.
        statistics: Folder or URL of a run of the same kernel over a wider area, whose statistics are used, where the
            kernel declares stages; only a run measures them.

    Returns:
        The arrays of the mosaic over ``cube.box``, byte for byte what a run with tiles of this side writes (with
        ``statistics``: that run).

    Raises:
        PlanError: ``tile`` is no multiple of 512, the kernel wants another number of epochs, its precision is
            ``auto``, which only a run measures, or it needs statistics and none are given.
        SpecError: ``statistics`` names no run, or one that does not suit this kernel or cube.
    """
    if tile <= 0 or tile % CELL:
        raise PlanError(f"tile {tile} is no multiple of {CELL}; give {CELL}, {2 * CELL} or {4 * CELL}")
    bound = BoundKernel(kernel) if isinstance(kernel, str) else kernel
    mapping = bound.settled(cube.snapshot, cube.grid.resolution).make(cube.grid.resolution)
    if len(cube.slots) != mapping.info.inputs.epochs:
        raise PlanError(
            f"{bound.name} maps {mapping.info.inputs.epochs} step of time, and the cube has {len(cube.slots)}; "
            f"open it with groupby='epoch' and as many epochs as the kernel wants"
        )
    _refuse_auto(mapping)
    return _map_lazily(cube, mapping, tile, statistics=statistics_for(cube, mapping, statistics, tile=tile))


def _refuse_auto(kernel: Kernel) -> None:
    if kernel.info.options.get("precision") == "auto":
        raise PlanError("kernel.precision: auto is measured by a run; say float32 or bfloat16 here")


def _map_lazily(
    cube: Cube,
    kernel: Kernel,
    tile: int,
    features: FeatureSource | None = None,
    statistics: Statistics | None = None,
) -> xr.Dataset:
    outer = cube.box.snap(tile)
    mapped = partial(delayed(_map_tile, pure=True, traverse=False), cube, kernel, features, statistics)
    tiles = [
        [mapped(PixelBox(row, col, row + tile, col + tile)) for col in range(outer.col0, outer.col1, tile)]
        for row in range(outer.row0, outer.row1, tile)
    ]
    variables = {
        spec.name: _variable(spec, _join(tiles, spec, tile)[..., *cube.box.slices(outer)])
        for spec in (*kernel.info.arrays, OBSERVATIONS)
    }
    return xr.Dataset(variables, coords=cube.dataset.coords.to_dataset().drop_vars("time", errors="ignore").coords)


def _join(tiles: list[list[Any]], spec: ArraySpec, side: int) -> Any:
    """One array of all tiles' delayed arrays."""
    shape, dtype = (*spec.planes, side, side), np.dtype(spec.dtype)
    rows = [[da.from_delayed(arrays[spec.name], shape, dtype) for arrays in row] for row in tiles]
    return da.concatenate([da.concatenate(row, axis=-1) for row in rows], axis=-2)


def plan(
    spec: RunSpec | Mapping[str, Any] | str | os.PathLike[str],
    *,
    now: str | None = None,
    allow_empty: bool = False,
    strict: bool = False,
) -> PlannedRun:
    """Plan a run without starting it, as ``eopipe plan`` does; nothing is written.

    Args:
        spec: A path, a mapping, or a parsed spec.
        now: Time that relative dates are measured from.
        allow_empty: Whether a search without a match is fine.
        strict: Whether prompts outside the kernel's vocabulary are refused.

    Returns:
        The plan: ``tiles``, ``warnings``, ``summary()``, ``geojson()``; a notebook shows it as a table.

    Raises:
        SpecError: The spec is wrong, or the output belongs to another spec.
        NoItemsError: The search matched nothing and ``allow_empty`` is false.
        PlanError: It cannot fit into a worker's memory, or cannot be placed on the grid.
        CatalogError: The catalogue cannot be reached.
    """
    return plan_spec(_read_spec(spec), now=resolve_now(now), allow_empty=allow_empty, strict=strict)


def run(
    spec: RunSpec | Mapping[str, Any] | str | os.PathLike[str],
    *,
    now: str | None = None,
    allow_empty: bool = False,
    strict: bool = False,
    display: Display | None = None,
) -> dict[str, Any]:
    """Run a spec to its end, or resume it; see ``eopipe run``.

    Args:
        spec: A path, a mapping, or a parsed spec.
        now: Time that relative dates are measured from.
        allow_empty: Whether a search without a match is fine.
        strict: Whether prompts outside the kernel's vocabulary are refused.
        display: Shows progress; silent where None.

    Returns:
        The summary; ``exit_status`` 3 where tiles failed.
    """
    moment = resolve_now(now) if now else None
    return execute(_read_spec(spec), display=display or Display(), now=moment, allow_empty=allow_empty, strict=strict)


def _read_spec(spec: RunSpec | Mapping[str, Any] | str | os.PathLike[str]) -> RunSpec:
    if isinstance(spec, RunSpec):
        return spec
    return load_spec(spec) if isinstance(spec, (str, os.PathLike)) else parse_spec(dict(spec))


@overload
def rescore(out: str, *, to: str, display: Display | None = None, **changes: Any) -> dict[str, Any]: ...


@overload
def rescore(out: str, *, to: None = None, area: Any = None, **changes: Any) -> xr.Dataset: ...


def rescore(
    out: str, *, to: str | None = None, area: Any = None, display: Display | None = None, **changes: Any
) -> xr.Dataset | dict[str, Any]:
    """Other prompts for a run that kept its window features: they are scored again, and nothing is encoded.

    Args:
        out: Folder or URL of a run whose kernel had ``features: keep`` (or ``{pca: N}``).
        to: A new output, which becomes a run like any other; None gives the map lazily, and writes nothing.
        area: Where to map lazily: ``[west, south, east, north]`` in degrees, or GeoJSON, within the run's area; the
            whole of that where None.
        display: Shows progress; silent where None.
        changes: Options of the kernel that do not shape the features, such as ``prompts={"water": ["river"]}``.

    Returns:
        The summary of the run, or the arrays of its mosaic, lazily: byte for byte what a run would write.

    Raises:
        SpecError: Nothing was kept, or an option shapes the features: it is named.
    """
    if to is not None:
        return rescore_run(out, changes, out=to, display=display or Display())
    original, features = open_features(out)
    job, read = original.job, original.job.read
    kernel = registry.create(job.spec.kernel.name, changed_options(original, changes), resolution=job.grid.resolution)
    cube = describe_cube(
        original.snapshot,
        area=job.area if area is None else area,
        bands=kernel.info.inputs.bands,
        assets=read.assets,
        crs=job.grid.crs,
        resolution=job.grid.resolution,
        composite=read.composite,
        mask=read.mask,
        sar=read.sar,
        **({} if read.radiometry is None else read.radiometry.model_dump()),
        sign=read.sign,
        requester_pays=read.requester_pays,
        alternate=read.alternate,
    )
    assert original.tile is not None, "a frozen run has a tile's side"
    return _map_lazily(cube, kernel, original.tile, features)


def _map_tile(
    cube: Cube, kernel: Kernel, features: FeatureSource | None, statistics: Statistics | None, box: PixelBox
) -> dict[str, NDArray[Any]]:
    """One task: the same as a run's task, without writing."""
    info, specs = kernel.info, (*kernel.info.arrays, OBSERVATIONS)
    if cube.region is not None and cube.region.part(box) == "none":  # a tile wholly outside is not produced
        return {spec.name: np.full((*spec.planes, *box.shape), spec.fill, spec.dtype) for spec in specs}
    torch.set_num_threads(THREADS)
    settings = cube.settings_for(info.inputs.bands, factor=info.factor)
    scenes = cube.scenes(read_box(box, info), info.inputs.bands, settings.grid)
    if any(scenes):
        kernel.load(device=choose_device(), threads=THREADS)
    inside = None if cube.region is None else cube.region.mask(box)
    arrays, stats = map_box(
        kernel, scenes, settings, box, sink=Sink(), inside=inside, features=features, statistics=statistics
    )
    for note in stats.notes:
        warnings.warn(note, stacklevel=2)
    return arrays


def _apply(kernel: Kernel, values: NDArray[np.float32], dataset: xr.Dataset) -> xr.Dataset:
    """Pad to whole windows with invalid pixels, map, and cut back."""
    halo, stride = kernel.info.window.halo, kernel.info.window.stride
    valid: NDArray[np.bool_] = np.all(np.isfinite(values), axis=1)
    rows, cols = valid.shape[-2:]
    whole = PixelBox(0, 0, rows, cols).snap(stride)
    margin = ((halo, whole.row1 - rows + halo), (halo, whole.col1 - cols + halo))
    unit = 1 if kernel.info.inputs.modality == "sar" else 10000
    pixels = np.pad(np.where(valid[:, None], values * unit, 0), ((0, 0), (0, 0), *margin)).astype(np.float32)
    torch.set_num_threads(THREADS)
    kernel.load(device=choose_device(), threads=THREADS)
    result = kernel(pixels, np.pad(valid, ((0, 0), *margin)), whole)
    variables = {
        spec.name: _variable(spec, result.arrays[spec.name][..., :rows, :cols]) for spec in kernel.info.arrays
    }
    coordinates = {name: dataset.coords[name] for name in ("y", "x", "spatial_ref") if name in dataset.coords}
    return xr.Dataset(variables, coords=coordinates)


def _variable(spec: ArraySpec, values: Any) -> tuple[tuple[str, ...], Any, dict[str, Any]]:
    """Dimensions, values and attributes, as xarray takes them."""
    attributes: dict[str, Any] = {"long_name": spec.long_name}
    if spec.classes:
        attributes["flag_values"] = [info.code for info in spec.classes]
        attributes["flag_meanings"] = " ".join(info.name.replace(" ", "_") for info in spec.classes)
    return (*(("band",) if spec.bands else ()), "y", "x"), values, attributes
