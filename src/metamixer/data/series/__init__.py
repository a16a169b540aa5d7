"""Tables of series: reading, dates, windows."""
