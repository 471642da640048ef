"""A program that runs a Python program in a fork of `tests/fork_server.py`, and ends as it does.

fork_client.py SOCKET SCRIPT.py ARGUMENT…
fork_client.py SOCKET -m MODULE ARGUMENT…
"""

import json
import os
import socket
import sys


def main() -> int:
    """Hand the server this process's arguments, folder, environment and streams."""
    path, *arguments = sys.argv[1:]
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [b"\n"], [0, 1, 2])
        connection.sendall(json.dumps(request).encode())
        connection.shutdown(socket.SHUT_WR)
        status = connection.recv(1)
    return status[0] if status else 139  # it was killed


if __name__ == "__main__":
    sys.exit(main())
