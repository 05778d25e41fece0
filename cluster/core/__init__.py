"""The rules of the cluster as pure state machines.

A core takes messages and the time, changes its own state and returns what is to be done. Nothing in
this package does I/O, reads a clock, draws random numbers or logs; it imports only the standard
library, attrs and xxhash.
"""
