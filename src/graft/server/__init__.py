"""The second door: opened indexes, classifiers and recommenders over HTTP, and the pages people use them with."""
