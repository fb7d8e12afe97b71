"""The engine: from a spec to a published map on a Dask cluster."""
