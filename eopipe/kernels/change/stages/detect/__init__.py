"""Detectors: objects of the prompts' classes on each date."""
