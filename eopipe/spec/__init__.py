"""RunSpec: what a run is, as people write it.

Every mistake ends in one line that names the key, the value and the remedy, before anything is read.
"""

from eopipe.spec.model import (
    ClusterSpec,
    GridSpec,
    KernelSpec,
    MaskSpec,
    OutputSpec,
    RadiometrySpec,
    RunSpec,
    SarSpec,
    SourceSpec,
)
from eopipe.spec.reading import is_url, load_spec, parse_search, parse_spec, parse_yaml, resolve_now

__all__ = [
    "ClusterSpec",
    "GridSpec",
    "KernelSpec",
    "MaskSpec",
    "OutputSpec",
    "RadiometrySpec",
    "RunSpec",
    "SarSpec",
    "SourceSpec",
    "is_url",
    "load_spec",
    "parse_search",
    "parse_spec",
    "parse_yaml",
    "resolve_now",
]
