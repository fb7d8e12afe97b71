"""Exchangeable stages of change detection, named as DynamicEarth (arXiv 2501.12931) names them."""
