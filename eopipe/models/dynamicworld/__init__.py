"""Dynamic World v1: the net, and its fused form for CPUs."""
