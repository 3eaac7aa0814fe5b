"""Scheduled Hermes jobs, fired by the operating system."""

__version__ = "0.2.0"
