"""A lab's project: dandify.yaml, layered metadata, what is missing."""
