"""Metrics for Prometheus, computed from the files at each scrape, so that no process has to keep them."""
