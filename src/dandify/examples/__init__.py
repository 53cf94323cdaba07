"""Recordings in real vendor layouts made from a seed, and the main job run on them."""
