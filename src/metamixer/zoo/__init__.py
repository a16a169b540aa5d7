"""Every network and every file of weights, as data: nothing here imports PyTorch but what fetches a file."""
