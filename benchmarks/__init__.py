"""What dandify claims about speed and size, measured beside what a user would use instead, in the same run."""
