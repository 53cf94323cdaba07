"""Runs sessions: from sources and metadata to verified files."""
