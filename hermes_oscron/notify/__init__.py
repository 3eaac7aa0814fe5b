"""Alerts: what the ledgers of all profiles show is sent by a process of its own, which needs neither agent nor API."""
