"""Request and response bodies of the API, as its OpenAPI document describes them."""
