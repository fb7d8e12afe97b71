"""SAM, SAM 2, DINO, DINOv2 and (MM-)Grounding DINO: pictures in, numbers out, with weights that the user supplies."""
