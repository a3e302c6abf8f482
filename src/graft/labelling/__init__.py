"""Which items to label next, and labels from rules: arrays in, arrays out."""
