"""Torch modules and where their weights come from. No geography, no files but the weights."""
