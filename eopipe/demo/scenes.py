"""The scenes of the demo: their packages, bands and licences, and what is known of their place and date."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from eopipe.errors import SpecError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Sequence


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
        bands: In the order of the planes of its pixels.
        scale: Reflectance per digital number.
        nodata: Digital number without data.
        resolution: Resolution of the demo's grid, metres.
        properties: Properties of the STAC item: mission and level.
        interval: Time range of the item and the collection, RFC 3339.
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
    bands: Sequence[Band]
    scale: float
    nodata: int
    resolution: float
    properties: dict[str, Any]
    interval: Sequence[str]
    place: str
    about: str
    licence: str
    providers: Sequence[dict[str, Any]]
    credit: str

    @property
    def collection(self) -> str:
        """Id of the collection."""
        return f"{self.key}-{self.package}"


def _shipped() -> dict[str, DemoScene]:
    text = resources.files("eopipe.demo").joinpath("data/scenes.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["scene"]
    return {row["key"]: DemoScene(**row | {"bands": [Band(*band) for band in row["bands"]]}) for row in rows}


SCENES = _shipped()


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
        names = ", ".join(available) or "another version"
        raise SpecError(f"--scene: {key} needs the model {SCENES[key].model}, which this version lacks; take {names}")
    return (available[key],)
