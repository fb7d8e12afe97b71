"""What the files of a run mean, before it begins: one file of each kind of item is opened, band by band.

The survey refuses a run whose numbers nobody states, shows in the plan where each number comes from, warns of
conflicts, and puts into the tile recipe the facts of files that decide bytes (and were not hashed with the items).
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.canonical_json import canonical_json
from eopipe.cube.file_layout import facts_of
from eopipe.cube.item_scenes import resolve_scene
from eopipe.cube.masks import describe, mask_table
from eopipe.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eopipe.cube.asset_file import Facts
    from eopipe.cube.reader import ReadSettings
    from eopipe.cube.scenes import AssetRef, Scene
    from eopipe.snapshot import Snapshot
    from eopipe.spec import MaskSpec

KINDS = 24
"""Kinds of items of which files are opened."""

TRIALS = 3
"""Items of a kind that are tried where files cannot be opened."""

PREFIX = "radiometry of "
"""How warnings of the survey begin."""

_MISSION = 4
_MASKS = {"internal": "internal mask", "alpha": "alpha band", "msk": ".msk mask"}


@dataclass(frozen=True)
class Survey:
    """What was seen.

    Args:
        lines: For the plan, one a kind of item.
        warnings: Conflicts and assumptions, one line each.
        files: Facts of files that decide bytes, for the recipe; one a collection, band and value.
        opened: Collections and bands of which a file could be opened.
    """

    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    files: tuple[Mapping[str, Any], ...] = ()
    opened: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    def refuse_other(self, recipe: Mapping[str, Any], where: str) -> None:
        """Refuse to resume a run whose files had other facts when it began.

        Raises:
            SpecError: They had.
        """
        before, now = (self._of_opened(files) for files in (files_in(recipe), self.files))
        if before != now:
            changed = sorted((before | now) - (before & now))
            text = "; ".join(f"{'was' if entry in before else 'is'} {entry}" for entry in changed[:2])
            raise SpecError(
                f"output {where} was begun when its files stated other numbers ({text}); give another output"
            )

    def _of_opened(self, files: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        return frozenset(
            canonical_json(entry).decode() for entry in files if (entry["collection"], entry["band"]) in self.opened
        )


@dataclass(frozen=True)
class _Opened:
    """A band of a kind of item, and what its file says."""

    band: str
    ref: AssetRef
    facts: Facts


def survey(snapshot: Snapshot, read: ReadSettings) -> Survey:
    """Open a file of each kind of item, band by band.

    Args:
        snapshot: The frozen items.
        read: How pixels are read.

    Raises:
        ItemError: Nothing says what a file's numbers mean, or they are no reflectance.
    """
    lines, files, opened = [], [], set()
    notes: dict[tuple[str, str], dict[str, None]] = {}
    for collection, rows in list(_kinds(snapshot).items())[:KINDS]:
        bands = _open_kind(snapshot, read, rows)
        if not bands:
            continue
        name = collection[0] or "items"
        lines.append(f"{name}: {_line(bands, read.mask)}")
        for entry in bands:
            opened.add((name, entry.band))
            for note in entry.facts.numbers.notes:
                notes.setdefault((name, note), {})[entry.band] = None
            if decides := _deciding(entry, read.mask):
                files.append({"collection": name, "band": entry.band, **decides})
    unique = {canonical_json(entry): entry for entry in files}
    return Survey(
        lines=tuple(dict.fromkeys(lines)),
        warnings=tuple(f"{PREFIX}{name} ({', '.join(bands)}): {note}" for (name, note), bands in notes.items()),
        files=tuple(json.loads(text) for text in sorted(unique)),
        opened=frozenset(opened),
    )


def files_in(recipe: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Facts of files in a tile recipe."""
    files: Sequence[Mapping[str, Any]] = recipe.get("radiometry", {}).get("files", ())
    return files


def _kinds(snapshot: Snapshot) -> dict[tuple[str, ...], list[int]]:
    """Snapshot rows by collection, level, mission and processing baseline."""
    columns = [snapshot.index.column(name).to_pylist() for name in ("collection", "level", "id", "baseline")]
    kinds: dict[tuple[str, ...], list[int]] = {}
    for row, (collection, level, identifier, baseline) in enumerate(zip(*columns, strict=True)):
        key = (collection or "", level or "", identifier[:_MISSION], baseline or "")
        kinds.setdefault(key, []).append(row)
    return kinds


def _open_kind(snapshot: Snapshot, read: ReadSettings, rows: Sequence[int]) -> list[_Opened]:
    """The bands of the first item of a kind whose files can all be opened; of none where no item's can."""
    for row in dict.fromkeys((rows[0], rows[len(rows) // 2], rows[-1])):
        [item] = snapshot.items([row])
        scene = resolve_scene(
            item, read.bands, read.mask, sar=read.sar, choice=read.choice, radiometry=read.radiometry
        )
        refs = list(_refs(scene, read.mask))
        with ThreadPoolExecutor(8, "survey") as pool:
            facts = list(pool.map(lambda pair: facts_of(pair[1], read), refs))
        bands = [_Opened(band, ref, fact) for (band, ref), fact in zip(refs, facts, strict=True) if fact is not None]
        if len(bands) == len(refs):
            return bands
    return []


def _refs(scene: Scene, mask: MaskSpec | None) -> Iterator[tuple[str, AssetRef]]:
    yield from scene.bands.items()
    if mask is not None and scene.mask is not None:
        yield mask.band, scene.mask


def _line(bands: Sequence[_Opened], mask: MaskSpec | None) -> str:
    """Facts of a kind for people: bands of the same facts together."""
    texts: dict[str, list[str]] = {}
    for entry in bands:
        if entry.ref.unit != "codes":
            texts.setdefault(_facts(entry), []).append(entry.band)
    alike = [text if len(texts) == 1 else f"{', '.join(names)}: {text}" for text, names in texts.items()]
    return "; ".join([*alike, *([f"mask {describe(mask)}"] if mask is not None else [])])


def _facts(entry: _Opened) -> str:
    numbers, ref = entry.facts.numbers, entry.ref
    unit = "" if ref.unit == "reflectance" else f"{ref.unit}, "
    facts = [f"{unit}{numbers.scale_origin} scale {numbers.scale:g}"]
    if numbers.offset or numbers.offset_origin is not None:
        facts.append(f"{numbers.offset_origin} offset {numbers.offset:g}")
    stated = [value for value in numbers.nodata if value != numbers.file_nodata or value == ref.nodata]
    facts += [f"{ref.origins.nodata or 'table'} no-data {value:g}" for value in stated]
    facts += [f"file no-data {numbers.file_nodata:g}"] if numbers.file_nodata is not None else []
    facts += [_MASKS[entry.facts.masked]] if entry.facts.masked else []
    return ", ".join(facts)


def _deciding(entry: _Opened, mask: MaskSpec | None) -> dict[str, Any]:
    """What of the file decides bytes beyond what its item, collection, spec and table state."""
    numbers, facts, stated = entry.facts.numbers, entry.facts, entry.ref.nodata is not None
    if entry.ref.unit == "codes":
        assert mask is not None
        changed = not np.array_equal(mask_table(mask, numbers.nodata), mask_table(mask))
        return {"nodata": list(numbers.nodata)} if changed else {}
    decides: dict[str, Any] = {}
    if numbers.scale_origin in {"file", "type"}:
        decides |= {"scale": numbers.scale, "offset": numbers.offset}
    elif numbers.offset_origin == "file":
        decides |= {"offset": numbers.offset}
    if stated and numbers.file_nodata is not None and numbers.file_nodata != entry.ref.nodata:
        decides["nodata"] = numbers.file_nodata
    if facts.masked and (numbers.nodata or facts.masked == "msk"):
        decides["mask"] = facts.masked
    return decides
