"""Upsamplers: from an encoder's patch grid to one score a pixel and query, behind one interface."""
