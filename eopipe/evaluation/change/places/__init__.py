"""Runs that are judged: labelled places of a STAC collection, mapped as anybody would map them.

Each mosaic is compared with its labels, beside plain baselines on the same pixels. This room stands above both the
engine, which runs, and `eopipe.evaluation`, which judges.
"""
