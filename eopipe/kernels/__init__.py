"""Kernels: pixels in, maps out. They know no STAC, no Dask, no files."""
