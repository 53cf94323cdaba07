"""OME-Zarr images: pyramid, axes, units, channels; arrays through the engine."""
