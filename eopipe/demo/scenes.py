"""The scenes of the demo: their packages, bands and licences, and what is known of their place and date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eopipe.demo.package_data import read_sentinel2
from eopipe.errors import SpecError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from eopipe.demo.package_data import SceneRaster


@dataclass(frozen=True)
class Band:
    """A band of a scene, in a file of its own.

    Args:
        name: Name of the asset and of its file: the mission's name of the band.
        common: Canonical name.
        centre: Central wavelength, micrometres.
    """

    name: str
    common: str
    centre: float


@dataclass(frozen=True)
class DemoScene:
    """A real scene that comes with a package.

    Args:
        key: Name on the command line.
        title: For people.
        model: The registry's model that maps it.
        package: Name of its package on the package index.
        file: Its path inside the package.
        version: Versions of the package that are known to have it.
        read: Reads that file.
        bands: In the order of the planes of its pixels.
        scale: Reflectance per digital number.
        nodata: Digital number without data.
        resolution: Resolution of the demo's grid, metres.
        properties: Properties of the STAC item: mission, dates, level.
        interval: Time range of the collection, RFC 3339.
        place: Remark on its location.
        about: Its content and its processing.
        licence: Licences of the package and of the image.
        providers: STAC providers.
        credit: One line for pictures.
    """

    key: str
    title: str
    model: str
    package: str
    file: str
    version: str
    read: Callable[[Path], SceneRaster]
    bands: tuple[Band, ...]
    scale: float
    nodata: int
    resolution: float
    properties: dict[str, Any]
    interval: tuple[str, str]
    place: str
    about: str
    licence: str
    providers: tuple[dict[str, Any], ...]
    credit: str

    @property
    def collection(self) -> str:
        """Id of the collection."""
        return f"{self.key}-{self.package}"


_ESA = {"name": "ESA / Copernicus", "roles": ["producer", "licensor"], "url": "https://www.copernicus.eu"}
_SPYNDEX = {"name": "spyndex", "roles": ["host"], "url": "https://github.com/awesome-spectral-indices/spyndex"}

SENTINEL2 = DemoScene(
    key="sentinel-2",
    title="Sentinel-2: farmland, forest and a village",
    model="mini",
    package="spyndex",
    file="data/S2_10m.json",
    version="spyndex>=0.12,<1",
    read=read_sentinel2,
    bands=(
        Band("B02", "blue", 0.49), Band("B03", "green", 0.56), Band("B04", "red", 0.665), Band("B08", "nir", 0.842),
    ),
    scale=1e-4,
    nodata=0,
    resolution=10.0,
    # The package states no date: from the launch of the first Sentinel-2 to a day when the package had the scene.
    properties={
        "datetime": None, "start_datetime": "2015-06-23T00:00:00Z", "end_datetime": "2025-12-31T23:59:59Z",
        "constellation": "sentinel-2", "instruments": ["msi"], "processing:level": "L2A", "gsd": 10,
    },
    interval=("2015-06-23T00:00:00Z", "2025-12-31T23:59:59Z"),
    place="the scene comes without coordinates; the demo lays it on the sea at 0.05° N 3.02° E, across four tiles",
    about=(
        "Bands B02, B03, B04 and B08 at 10 m, 300 x 300 pixels, as the package has them: reflectance x 10000. "
        "Neither the place nor the date is told. That it is surface reflectance (L2A) is concluded from its dark "
        "forest: 0.02 to 0.03 in blue."
    ),
    licence=(
        "The package spyndex: MIT License, Copyright (c) 2021 David Montero Loaiza. "
        "The image: contains modified Copernicus Sentinel data, free, full and open "
        "(Legal notice on the use of Copernicus Sentinel Data and Service Information)."
    ),
    providers=(_ESA, _SPYNDEX),
    credit="contains modified Copernicus Sentinel data, from spyndex (MIT)",
)  # fmt: skip

SCENES = {scene.key: scene for scene in (SENTINEL2,)}


def choose_scenes(key: str | None, models: frozenset[str]) -> tuple[DemoScene, ...]:
    """The scenes to map.

    Args:
        key: Key of a scene; None: all whose model is available.
        models: Names of the models with weights on this machine.

    Raises:
        SpecError: No such scene, or its model is not in this version.
        WeightsError: No scene can be mapped.
    """
    available = {scene.key: scene for scene in SCENES.values() if scene.model in models}
    if key is None:
        if not available:
            raise WeightsError("the weights of mini are missing from this installation; install eopipe anew")
        return tuple(available.values())
    if key not in SCENES:
        raise SpecError(f"--scene: there is no scene {key!r}; the scenes are {', '.join(SCENES)}")
    if key not in available:
        remedy = ", ".join(available) or "another version"
        raise SpecError(
            f"--scene: {key} needs the model {SCENES[key].model}, which this version lacks; take {remedy}"
        )
    return (available[key],)
