"""Exchangeable stages, named as DynamicEarth (arXiv 2501.12931) names them."""
