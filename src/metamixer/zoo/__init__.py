"""All networks and files of weights, as data; PyTorch is imported only to download a file."""
