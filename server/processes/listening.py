"""Opens the sockets that processes listen on. It imports little, because the supervisor starts before anything else."""

import errno
import socket

from server import limits
from server.settings import Settings, Unusable


def listen(settings: Settings, port: int | None = None, *, shared: bool = False) -> socket.socket:
    """Open a socket to listen on. If `shared`, all workers have the port: the kernel spreads connections over those
    that listen. uvicorn makes it listen once the node is ready, so that nobody waits for one that starts.

    Raises Unusable when the port is taken.
    """
    port = settings.port if port is None else port
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio needs the protocol for NODELAY
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.KERNEL_SEND_BYTES)  # inherited by each socket
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.KERNEL_RECEIVE_BYTES)
    try:
        listener.bind((settings.host, port))
        if not shared:
            listener.listen(limits.BACKLOG)
    except OSError as error:
        listener.close()
        low = "; a port below 1024 needs root or CAP_NET_BIND_SERVICE" if error.errno == errno.EACCES else ""
        raise Unusable(f"Port {port} on {settings.host} cannot be used: {error.strerror}{low}.") from None
    return listener
