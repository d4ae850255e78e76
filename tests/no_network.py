"""Copied as sitecustomize.py beside a chapter under test: only loopback is reachable."""

import socket

_connect = socket.socket.connect


def connect(self, address):
    inet = self.family in (socket.AF_INET, socket.AF_INET6)
    if inet and address[0] not in ("127.0.0.1", "localhost", "::1"):
        raise OSError(f"this test runs without network, and something called {address}")
    return _connect(self, address)


socket.socket.connect = connect
