"""A Hermes home on disk: its profiles, its time zone, its jobs, their outputs and the runs in progress."""
