"""Proposers: what may have changed."""
