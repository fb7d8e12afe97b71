"""Statistics stages: what a kernel must know of a wider area, measured before the first tile.

``lattice``: where blocks and their sampled cells lie, and which blocks count at a cell's corner. ``planning``: one
task a block and stage, each with the key of its inputs. ``block_file``: a block's sums as a file. ``store``: the
folder of these files. ``interpolate``: from blocks' sums to numbers at every pixel of a strip. ``for_calibration``:
the same for seeded pixels. See docs/ARCHITECTURE.md, "Statistics of a wider area".
"""
