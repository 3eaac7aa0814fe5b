"""The operations for clients, terminals and timers."""
