"""Comparers, and the encoders whose features they compare: whether an object or a pixel looks different."""
