"""The second door: opened indexes and classifiers over HTTP, and the pages people use them with."""
