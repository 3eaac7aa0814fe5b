"""Jobs: what a job is, what a client may set in it, when it is due, how it changes. No files, clock or scheduler."""
