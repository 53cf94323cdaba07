"""Upload through the dandi client, and the embedded archive."""
