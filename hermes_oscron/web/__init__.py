"""The HTTP API: routes, credentials and the server. It translates; what is decided is decided in the service."""
