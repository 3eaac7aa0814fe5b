"""When a job is due. Pure: no I/O, no clock of its own, and no knowledge of jobs or of what fires them."""
