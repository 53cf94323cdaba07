"""The command line: parse, call, show. One module per verb."""
