"""The mosaic: sharded Zarr, pyramid, COGs, quicklook."""
