"""Open-vocabulary segmentation: a map of what you name (SegEarth-OV, arXiv 2410.01768; SegEarth-OV-2, 2508.18067).

A window of the picture goes through a CLIP image tower whose last block attends to itself, its patch vectors are
upsampled to pixels, and each pixel's vector is compared with the vectors of the words. One idea a file:
``prompts`` (words to queries), ``picture`` and ``sar_picture`` (pixels to what the tower sees), ``windows`` (where
it looks), ``segmentor`` (window to logits), ``assemble`` (windows to a map), ``kernel`` (all of it on the lattice).
"""
