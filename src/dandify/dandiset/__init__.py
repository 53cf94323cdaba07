"""The dandiset: names, layout, generated metadata, validation."""
