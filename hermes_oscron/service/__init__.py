"""The operations that clients, terminals and timers ask for."""
