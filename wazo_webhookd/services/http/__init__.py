"""The service ``http``: a request to a URL for each event."""
