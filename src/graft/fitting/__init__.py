"""What a fit does between reading and the finished folder, step by step."""
