"""Tuning: candidates of chunk shape and compression, raced on samples of a lab's own data."""
