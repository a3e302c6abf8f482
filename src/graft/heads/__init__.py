"""Small models on vectors: arrays in, arrays out."""
