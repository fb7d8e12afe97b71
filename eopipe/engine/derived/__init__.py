"""Runs that are made of another run."""
