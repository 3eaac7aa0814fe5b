"""Schedules and their occurrences. Pure: no I/O, no clock, and no dependency on jobs or schedulers."""
