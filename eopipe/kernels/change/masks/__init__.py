"""Object masks of a picture as runs of pixels, and what is computed from them."""
