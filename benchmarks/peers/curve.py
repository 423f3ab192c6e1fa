"""CURVE keys and sockets for the two pyzmq peers: the server's key is fresh for every run and travels in the info."""

from typing import Any

import zmq

from benchmarks.contract import Info


def serve(socket: "zmq.Socket[Any]", port: int) -> Info:
    public, secret = zmq.curve_keypair()
    socket.linger = 0
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = public, secret
    socket.bind(f"tcp://127.0.0.1:{port}")
    return {"key": public.decode()}


def connect(socket: "zmq.Socket[Any]", port: int, info: Info, keys: tuple[bytes, bytes]) -> None:
    socket.linger = 0
    socket.curve_publickey, socket.curve_secretkey = keys
    socket.curve_serverkey = info["key"].encode()
    socket.connect(f"tcp://127.0.0.1:{port}")
