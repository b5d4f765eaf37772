"""Numbers for readers: intervals, comparisons, tables and pictures."""
