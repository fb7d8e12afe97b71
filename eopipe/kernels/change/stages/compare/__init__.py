"""Comparers: whether an object changed."""
