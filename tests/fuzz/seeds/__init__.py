"""Small good files, family by family: `make(folder)` writes them and gives their kinds."""
