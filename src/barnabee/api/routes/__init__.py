"""HTTP routes of the api, one module for each subject."""
