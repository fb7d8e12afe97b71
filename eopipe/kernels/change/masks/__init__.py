"""Object masks as runs of pixels."""
