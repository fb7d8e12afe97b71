"""Identifiers: what an object is."""
