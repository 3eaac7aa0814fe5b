"""Root's helper: it arms an account's jobs in the system's manager, and trusts nothing of that account."""
