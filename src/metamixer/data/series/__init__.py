"""Time series: tables, dates, windows."""
