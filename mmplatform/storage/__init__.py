"""What a node keeps: ordered key-value rows on disk or in memory, and the folder they live in."""
