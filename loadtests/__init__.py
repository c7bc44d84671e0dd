"""Traffic made up on purpose: the example program of `lasttouch serve --demo`, and load."""
