"""What ``mini`` was taught: nine concepts, each by a literal name and other words for it.

The concepts are Dynamic World's, in its order. The phrases are short noun phrases without a template: with "a
satellite image of …" in front, the sentence encoder finds everything alike.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Concept:
    """A kind of land cover that the net tells apart.

    Attributes:
        key: Dynamic World's name.
        name: In plain words; the first of its phrases.
        others: Further taught phrases.
    """

    key: str
    name: str
    others: tuple[str, ...]

    @property
    def phrases(self) -> tuple[str, ...]:
        """All taught phrases, the name first."""
        return (self.name, *self.others)


CONCEPTS: tuple[Concept, ...] = (
    Concept("water", "water", (
        "open water", "water surface", "body of water", "surface water", "ocean", "stream", "creek", "waterway",
        "coastal waters", "inland waters", "deep blue water", "shallow water", "freshwater", "bay",
        "water bodies", "water course",
    )),
    Concept("trees", "trees", (
        "forest", "woods", "tree cover", "dense tree cover", "broadleaf forest", "needleleaf forest",
        "deciduous trees", "evergreen trees", "rainforest", "forest canopy", "group of trees", "forested area",
        "tall trees", "timber forest", "coniferous forest", "mixed forest", "broad-leaved trees",
    )),
    Concept("grass", "grass", (
        "grassland", "grasses", "green grass", "short grass", "tall grass", "dry grass", "grass cover", "turf",
        "natural grassland", "grassy field", "herbaceous vegetation", "low vegetation", "rangeland", "mown grass",
        "natural vegetation with grass", "grass verge",
    )),
    Concept("flooded_vegetation", "flooded vegetation", (
        "wetland", "wetlands", "flooded plants", "emergent vegetation", "vegetation in water",
        "inundated vegetation", "aquatic plants", "water plants", "flooded grassland", "flooded trees",
        "waterlogged vegetation", "swampy ground", "marshy ground", "boggy ground", "flooded paddy",
    )),
    Concept("crops", "crops", (
        "cropland", "agriculture", "agricultural land", "agricultural fields", "cultivated land",
        "cultivated fields", "crop field", "farming", "planted field", "row crops", "cereal crops", "grain field",
        "harvested field", "vegetable field", "maize crop", "annual crops", "permanent crops", "crop rotation",
    )),
    Concept("shrub_and_scrub", "shrub and scrub", (
        "shrubs", "scrub", "shrubland", "scrubland", "low shrubs", "scattered shrubs", "bush", "bushland",
        "woody shrubs", "dwarf shrubs", "scrub vegetation", "dry shrubland", "sparse shrubs", "undergrowth",
        "sclerophyllous shrubs", "moorland", "shrubby vegetation",
    )),
    Concept("built", "built area", (
        "built-up area", "building", "urban area", "settlement", "town", "residential area", "industrial area",
        "housing", "rooftops", "paved surface", "street", "highway", "concrete structures", "infrastructure",
        "man-made surface",
        "urban fabric", "commercial area", "road network", "port area",
    )),
    Concept("bare", "bare ground", (
        "bare soil", "bare earth", "bare land", "barren land", "exposed soil", "soil", "dirt", "stony ground",
        "rocky terrain", "sandy ground", "beach", "clay soil", "arid land", "unvegetated ground",
        "exposed ground", "sparsely vegetated ground", "pebbles", "mineral soil",
    )),
    Concept("snow_and_ice", "snow and ice", (
        "snow", "ice", "snow cover", "snowy ground", "fresh snow", "ice cover", "snowpack", "permanent snow",
        "perennial ice", "snow on mountains", "icy surface", "frozen ground", "white snow", "frost",
        "perpetual snow", "snowy landscape",
    )),
)  # fmt: skip
"""In the order of the net's outputs."""
