"""Search: from a spec's source to a snapshot.

A catalog is a STAC API, a static catalog or a stac-geoparquet file; its address and first document show which. An
API evaluates the question itself; of the other two every item is read and the question is evaluated in this process,
with the same meaning.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from eopipe.errors import ITEM_REMEDY, CatalogAddressError, ItemError, SpecError
from eopipe.redact import unsign
from eopipe.snapshot import Row, Snapshot, off_footprint
from eopipe.stac.api import Api
from eopipe.stac.describe_item import Remarks, describe
from eopipe.stac.duplicates import Duplicate, reduce_duplicates
from eopipe.stac.geoparquet import GeoparquetFile
from eopipe.stac.http import Backoff, Http
from eopipe.stac.query import Cql2, Query
from eopipe.stac.question import Question
from eopipe.stac.signing import NoSigner, is_presigned, keep_signatures, signer_for
from eopipe.stac.static import Documents, StaticCatalog
from eopipe.stac.time_range import Season, TimeRange, nominal_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from eopipe.area.lonlat import Area
    from eopipe.spec import SourceSpec

_FAULTS = 5
"""Items that cannot be used and have a warning each."""

PRESIGNED = "its hrefs are signed, and the signatures were left out; source.sign: keep reads by them"
"""Remark on presigned items: what is frozen and written must hold no secret."""

_PARQUET = (".parquet", ".geoparquet", ".parq")


@dataclass(frozen=True)
class SearchReport:
    """What a search gave, for people and for the session's record.

    Args:
        matched: Items that matched, over all epochs.
        by_epoch: Items of the snapshot, epoch by epoch.
        duplicates: What was left out, and why.
        warnings: One line each.
        seconds: How long it took.
        requests: HTTP requests, retries included.
    """

    matched: int
    by_epoch: dict[str, int] = field(default_factory=dict)
    duplicates: list[Duplicate] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    requests: int = 0

    @property
    def used(self) -> int:
        """Items in the snapshot: those that matched, less duplicates."""
        return self.matched - len(self.duplicates)


def search(
    source: SourceSpec,
    area: Area,
    now: datetime,
    *,
    progress: Callable[[int], None] | None = None,
    backoff: Backoff | None = None,
    strict: bool = False,
) -> tuple[Snapshot, SearchReport]:
    """Find the items of a run, one search an epoch, and freeze them.

    Args:
        source: Catalogue, collections, dates, query …
        area: Where; footprints that touch it match.
        now: What ``now`` means in a time range; UTC.
        progress: Called with the number of items so far.
        backoff: When to try again; for tests.
        strict: Whether an item that cannot be used is refused; else it is left out, with a warning.

    Raises:
        SpecError: The question is wrong, a collection does not exist, or more than ``max_items`` match.
        ItemError: No item can be used, or one cannot and ``strict`` is set.
        CatalogError: The catalog cannot be reached, or fails after retries.
    """
    started = time.monotonic()
    questions = _questions(source, area, now)
    season = None if source.season is None else Season.parse(source.season)
    http = Http(backoff)
    catalog = open_catalog(source.catalog, http)
    if isinstance(catalog, Api):
        catalog.check(source.collections)
    elif source.filter is not None:
        next(iter(questions.values())).filter.check_local()  # type: ignore[union-attr]  # each question has it
    remarks, faults = Remarks(), list[ItemError]()
    rows = list(_rows(catalog, questions, season, remarks, faults, progress, source))
    if faults and (strict or not rows):
        raise faults[0]
    used, duplicates = reduce_duplicates(rows, source.collections)
    snapshot = Snapshot.build(list(questions), used)
    for row in off_footprint(snapshot.index):
        remarks.add(
            "raster bounds lie apart from the footprint; check proj:*", snapshot.index["id"][int(row)].as_py()
        )
    return snapshot, SearchReport(
        matched=len(rows),
        by_epoch={name: sum(row.epoch == name for row in used) for name in questions},
        duplicates=duplicates,
        warnings=[*catalog.warnings, *_left_out(faults), *remarks.lines()],
        seconds=time.monotonic() - started,
        requests=http.requests,
    )


def _left_out(faults: list[ItemError]) -> list[str]:
    """A line for each item that cannot be used, as far as there are few."""
    lines = [f"left out: {str(fault).removesuffix(f'; {ITEM_REMEDY}')}" for fault in faults[:_FAULTS]]
    more = len(faults) - len(lines)
    return [*lines, f"left out: {more} more items that cannot be used"] if more else lines


def open_catalog(address: str, http: Http) -> Api | StaticCatalog | GeoparquetFile:
    """Find out what kind of catalog an address is.

    Raises:
        CatalogError: It cannot be reached, or is none of the three.
        SpecError: It is a collection of an API; the API's root is needed.
    """
    documents = Documents(http)
    if "://" not in address:
        address = _local(address)
    if address.partition("?")[0].lower().endswith(_PARQUET):
        return GeoparquetFile(address, documents)
    root = documents.json(address)
    links = [link for link in root.get("links") or () if isinstance(link, dict)]
    rels = {str(link.get("rel")) for link in links}
    if "search" in rels and "://" in address:
        return Api(address, root, http)
    of_api = root.get("type") == "Collection" and "items" in rels and not {"item", "child"} & rels
    if of_api and "/collections/" in address:
        base, _, name = address.partition("?")[0].rpartition("/collections/")
        raise SpecError(
            f"source.catalog: {unsign(address)} is a collection of an API; give catalog: {unsign(base)} and "
            f"collections: [{name}]"
        )
    return StaticCatalog(address, root, documents)


def _local(address: str) -> str:
    path = Path(os.path.abspath(address))  # noqa: PTH100  (resolve() would follow links, and hide where it was given)
    if path.is_dir():
        inside = [path / name for name in ("collection.json", "catalog.json") if (path / name).is_file()]
        if not inside:
            raise CatalogAddressError(
                f"catalog {address!r} is a folder without collection.json or catalog.json; give a file"
            )
        path = inside[0]
    if not path.exists():
        raise CatalogAddressError(f"catalog {address!r} does not exist; give a URL or an existing file")
    return path.as_posix()


def _questions(source: SourceSpec, area: Area, now: datetime) -> dict[str, Question]:
    query = None if source.query is None else Query(source.query)
    cql2 = None if source.filter is None else Cql2(source.filter)
    ids = None if source.ids is None else frozenset(source.ids)
    many = source.epochs is not None
    return {
        name: Question(
            area=area,
            time=TimeRange.parse(text, now, key=f"source.epochs.{name}" if many else "source.datetime"),
            collections=source.collections,
            ids=ids,
            query=query,
            filter=cql2,
            max_items=source.max_items,
        )
        for name, text in source.ranges().items()
    }


def _rows(
    catalog: Api | StaticCatalog | GeoparquetFile,
    questions: Mapping[str, Question],
    season: Season | None,
    remarks: Remarks,
    faults: list[ItemError],
    progress: Callable[[int], None] | None,
    source: SourceSpec,
) -> Iterator[Row]:
    """Rows of the items that match and can be used; why others cannot is added to ``faults``."""
    count, unsigned = 0, isinstance(signer_for(source), NoSigner)
    for epoch, question in questions.items():
        hashes_of: dict[tuple[str, str], set[str]] = {}
        for entry in catalog.items(question):
            try:
                if entry.fault is not None:
                    raise entry.fault
                if season is not None and not season.holds(nominal_time(entry.item)):
                    continue
                row = describe(catalog.completed(entry), epoch, remarks, href=entry.href, collection=entry.collection)
            except ItemError as fault:
                faults.append(fault)
                continue
            if source.sign == "keep":
                keep_signatures(entry.item, entry.href)
            elif unsigned and is_presigned(entry.item):
                remarks.add(PRESIGNED, row.id)
            if not _is_new(row, hashes_of, remarks):
                continue
            yield row
            count += 1
            if progress is not None:
                progress(count)


def _is_new(row: Row, hashes_of: dict[tuple[str, str], set[str]], remarks: Remarks) -> bool:
    """Whether no equal item was listed before; ``hashes_of`` is brought up to date."""
    hashes = hashes_of.setdefault((row.collection, row.id), set())
    if row.hash in hashes:
        remarks.add("listed more than once in the catalog, used once", row.id)
        return False
    if hashes:
        remarks.add("another item of its collection has the same id and other content, both are used", row.id)
    hashes.add(row.hash)
    return True
