"""eopipe: maps of anything you can name, from a STAC query, on the Dask cluster you already have."""

__version__ = "0.1.0"
