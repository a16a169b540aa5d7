"""One file a runtime: how a network is written for it, read and run."""
