"""How far the second date lies beside the first, and how it is moved onto it."""
