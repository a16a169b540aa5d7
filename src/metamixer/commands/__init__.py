"""The commands beside training, one file and one function a command: its keywords are the options, its first line is
the help.
"""
