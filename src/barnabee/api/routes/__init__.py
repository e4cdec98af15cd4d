"""The HTTP face of the api, one module a subject."""
