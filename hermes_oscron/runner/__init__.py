"""hermes-cron-exec: one fire of one job, from the claim to the record."""
