# SPDX-License-Identifier: Apache-2.0
"""A server that tells who it sees: `whoami.py PORT` answers each TCP connection, of either family, with the other
end's address and then takes what comes, so that a stream to it can be watched by its bytes."""
import socket
import sys
import threading


def serve(c, peer):
    try:
        c.sendall((peer[0].removeprefix("::ffff:") + "\n").encode())
        while c.recv(65536):
            pass
    except OSError:
        pass
    c.close()


s = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    threading.Thread(target=serve, args=s.accept(), daemon=True).start()
