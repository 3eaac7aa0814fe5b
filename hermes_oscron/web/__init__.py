"""The HTTP API: routes, credentials and the server. All decisions are made in the service."""
