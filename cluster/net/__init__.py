"""Frames in and out: one small transport interface and its implementations.

`base` is the interface, `websocket` the real network, `memory` the simulated one, `greeting` the
handshake on either. Nothing here looks into a frame, except `greeting`.
"""
