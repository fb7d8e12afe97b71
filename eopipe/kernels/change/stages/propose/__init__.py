"""Proposers: objects that may have changed, whatever their class."""
