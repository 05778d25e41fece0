"""Bytes on the wire and what they mean: messages, frames, handshake, control protocol.

`messages` lists every message with its tag, `handshake` and `control` hold those of these two
conversations, `codec` turns messages into frames and frames into messages. Nothing here does I/O or
reads a clock; `cluster.net` carries the frames.
"""
