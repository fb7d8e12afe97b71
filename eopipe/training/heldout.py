"""Words that ``mini`` is judged by, and that it was never taught.

These lists were fixed before any phrase was embedded, any vector fitted and any net trained. Nothing is tuned on
``CLOSE`` and ``UNRELATED``: they are read once, for the model card. What had to be chosen (how many phrases are
taught, how a concept's vector is made, the bound below which a word counts as unknown) was chosen on
``CLOSE_TO_CHOOSE`` and ``UNRELATED_TO_CHOOSE``.
No phrase of ``CLOSE`` stands in a taught phrase, not even as a part of it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CLOSE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "water": ("lake", "a lake", "river", "pond", "reservoir", "open sea", "canal", "lagoon"),
        "trees": (
            "woodland", "pine forest", "oak trees", "conifers", "jungle", "tree canopy", "beech wood",
            "tropical forest",
        ),
        "grass": (
            "meadow", "pasture", "lawn", "prairie", "grazing land", "steppe", "grassy plain", "golf course",
        ),
        "flooded_vegetation": (
            "marsh", "swamp", "mangroves", "reed bed", "peat bog", "salt marsh", "fen", "flooded reeds",
        ),
        "crops": (
            "farm fields", "farmland", "wheat field", "corn", "arable land", "ploughed field", "irrigated fields",
            "barley",
        ),
        "shrub_and_scrub": (
            "bushes", "heath", "heather moorland", "thicket", "chaparral", "maquis", "thorn scrub", "brushwood",
        ),
        "built": (
            "houses", "city", "village", "buildings", "factory", "suburb", "roads", "apartment blocks", "parking lot",
        ),
        "bare": (
            "red soil", "sand", "desert", "rocks", "gravel", "sand dunes", "bare rock", "quarry",
        ),
        "snow_and_ice": (
            "glacier", "snowfield", "ice cap", "snow-covered mountains", "ice sheet", "snowy peaks", "frozen snow",
            "ice field",
        ),
    }
)  # fmt: skip
"""Close synonyms of each concept."""

UNRELATED: tuple[str, ...] = (
    "airplane", "solar panel", "happy birthday", "car", "truck", "bicycle", "motorcycle", "helicopter", "cargo ship",
    "train", "rocket", "submarine", "dog", "cat", "elephant", "horse", "penguin", "butterfly", "spider", "whale",
    "person", "crowd of people", "child", "pizza", "chocolate", "coffee", "bread", "birthday cake", "cheese",
    "hamburger", "love", "anger", "happiness", "fear", "jealousy", "music", "guitar", "football match", "chess",
    "movie", "computer", "telephone", "laptop", "keyboard", "printer", "refrigerator", "sofa", "wristwatch",
    "mathematics", "democracy", "inflation", "tax return", "quantum physics", "philosophy", "shirt", "shoes",
    "wedding dress", "cloud", "cloud shadow", "wind turbine", "oil tank", "tennis court", "shipping container",
    "fire", "smoke", "hello world", "seven", "yesterday", "quickly", "xyzzy",
)  # fmt: skip
"""Things that no concept holds: vehicles, animals, food, feelings, gadgets, ideas, clouds, and no words at all."""

CLOSE_TO_CHOOSE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "water": ("sea", "fjord", "estuary", "lakes and rivers", "water reservoir", "a wide river", "dam lake"),
        "trees": ("pine trees", "deciduous forest", "spruce stand", "grove", "forested hills", "mixed woods", "firs"),
        "grass": ("hay meadow", "grassy slope", "alpine meadow", "pastures", "savannah", "sports field", "lawns"),
        "flooded_vegetation": (
            "marshland", "mangrove swamp", "flooded forest", "reeds", "bogs", "wet meadow", "reed marsh",
        ),
        "crops": (
            "corn field", "soybeans", "vegetable farm", "farmed fields", "rice field", "wheat",
            "agricultural parcels",
        ),
        "shrub_and_scrub": (
            "heathland", "thorn bushes", "low bushes", "juniper", "macchia", "bushy hillside", "dry bush",
        ),
        "built": ("homes", "downtown", "warehouse", "skyscrapers", "railway station", "suburbs", "asphalt road"),
        "bare": ("dirt road", "dry riverbed", "sandy desert", "stones", "salt flat", "open pit mine", "brown earth"),
        "snow_and_ice": (
            "glaciers", "snowy mountain", "icy slopes", "frozen lake", "snow patches", "ice floes", "winter snow",
        ),
    }
)  # fmt: skip
"""Close synonyms by which choices were made."""

UNRELATED_TO_CHOOSE: tuple[str, ...] = (
    "bus", "taxi", "sailboat", "drone", "jet fighter", "scooter", "lion", "cow", "bird", "bee", "snake", "shark",
    "soup", "wine", "sugar", "fried egg", "sandwich", "ice cream", "sadness", "boredom", "trust", "pride", "violin",
    "opera", "newspaper", "novel", "camera", "battery", "chair", "lamp", "scissors", "umbrella", "history", "economy",
    "law", "algebra", "hat", "jacket", "necklace", "street lamp", "chimney", "traffic light", "thunderstorm",
    "rainbow", "good morning", "thank you", "forty two", "tomorrow", "slowly", "password", "passport", "tooth",
    "brain", "doctor", "teacher", "soldier", "robot", "ghost", "dragon", "galaxy", "satellite dish", "power line",
    "fog", "haze", "dust", "qwerty",
)  # fmt: skip
"""Unrelated words by which choices were made."""
