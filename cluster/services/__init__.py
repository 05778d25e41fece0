"""One actor per subsystem: thin shells around `cluster.core`, which decides.

They meet in `local` and in refs.
"""
