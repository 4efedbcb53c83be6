"""Prometheus metrics: some counted as events happen, others read at each scrape."""
