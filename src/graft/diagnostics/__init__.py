"""Questions one can ask of data and models."""
