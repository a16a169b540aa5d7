"""The commands except training, one file and one function each: keywords are options, the docstring is the help."""
