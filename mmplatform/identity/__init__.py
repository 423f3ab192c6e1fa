"""Who: keys, signed records, circles and tickets."""
