"""HyperCache: a replicated, in-memory key-value store made of trio actors.

Every name is imported from the module that defines it, so that importing the pure parts
(`cluster.core`) never pulls in the actor runtime or the network.
"""
