"""Scheduled Hermes jobs, fired by the operating system."""

__version__ = "0.1.0"
