"""Ways to find: bridges between spaces, better queries, fusion, and the opened index."""
