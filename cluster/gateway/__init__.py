"""Faces of a node: websocket sessions, HTTP, control. They know message types, never services."""
