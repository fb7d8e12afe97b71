"""STAC in and out: search, signing, duplicates, and the documents a run publishes."""
