"""Open-vocabulary change detection by stages (DynamicEarth, arXiv 2501.12931): all that decides, without weights."""
