"""From a spec to what will be done; no pixel is read."""
