"""The load generator: figures of a cluster, next to those of the bare stack in the same run."""
