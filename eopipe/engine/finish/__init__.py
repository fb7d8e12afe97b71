"""The end of a run: products of all tiles, publishing, ``status`` and ``validate``."""
