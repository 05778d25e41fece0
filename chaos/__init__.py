"""Scenarios, faults and checkers for a cluster that is to be broken on purpose.

What is here builds on `cluster` and is imported by nothing below it.
"""
