"""Networks made ready for use: files in other libraries' formats, proved equal, and the fastest form on this
machine.
"""
