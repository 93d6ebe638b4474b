# SPDX-License-Identifier: Apache-2.0
"""What an application is told: `knock.py tcp|udp ADDR PORT` prints "open", "silence" or the error's name, and the
milliseconds that took."""
import errno
import socket
import sys
import time

kind = socket.SOCK_STREAM if sys.argv[1] == "tcp" else socket.SOCK_DGRAM
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET, kind)
s.settimeout(8)
at = time.monotonic()
try:
    s.connect((sys.argv[2], int(sys.argv[3])))
    if kind == socket.SOCK_DGRAM:
        s.send(b"knock")
        s.recv(1)
    said = "open"
except TimeoutError as e:
    said = errno.errorcode[e.errno] if e.errno else "silence"
except OSError as e:
    said = errno.errorcode[e.errno]
print(said, round((time.monotonic() - at) * 1000))
