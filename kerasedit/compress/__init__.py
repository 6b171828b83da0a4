"""Making models smaller: which channels are tied, which can go, and taking them out."""
