"""The dashboard: pages for people, rendered on the server, on the same address as the API."""
