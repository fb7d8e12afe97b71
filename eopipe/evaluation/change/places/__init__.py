"""Runs of labelled places of a STAC collection, judged against their labels.

Each mosaic is judged beside plain baselines on the same pixels. This package may import `eopipe.api` and
`eopipe.engine`; the rest of `eopipe.evaluation` may not.
"""
