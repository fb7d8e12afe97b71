"""The engine: plan, tile, run, ledger, cluster."""
