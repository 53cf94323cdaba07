"""File layouts of acquisition programs that are too long for their converter: headers in, records out."""
