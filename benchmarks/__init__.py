"""What dandify claims about speed and size, measured beside what a user would use instead, in the same run.

The harness is our own. pytest-benchmark was looked at: it times one call again and again within its own process, and
here each run needs a fresh one (memory), two writers must take turns (a busy machine hits both alike), and what counts
is the ratio of their medians, of CPU time, of size and of memory as well, with the contents compared.
"""
