"""From the rig to DANDI: raw neurophysiology recordings become NWB and OME-Zarr, organized, validated and uploaded."""
