"""Identifiers: the class of an object or a pixel on each date."""
