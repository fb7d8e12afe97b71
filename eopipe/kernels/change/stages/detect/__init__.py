"""Detectors: objects of a named class on each date."""
