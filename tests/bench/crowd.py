#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many clients ask penstock-portal for a flow each, a few at a time, and leave: what they were told is all that the
load generator needs to be them (h_wgload --crowd).

crowd.py PORT TOKEN-FILES CLIENT-ENDPOINTS  the portal is on this host; the files are named with {} for 0, 1, …: a thousand
                                            clients each; as many come from each endpoint (IP:PORT,…), in their order. Keys of `h_wgload keys` on stdin; on stdout a line a client:
                                            ADDRESS PSK GATEWAY-KEY UFRAG PASSWORD GATEWAY-UFRAG GATEWAY-PASSWORD
"""
import multiprocessing.pool
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
import portal_ws  # noqa: E402


AT_ONCE = 8
mine = threading.local()


def connect(host, port, cafile=None, timeout=5):
    """Each from a loopback address of its own: the portal lets one address in 20 times a second."""
    return socket.create_connection((host, port), 20, (f"127.1.{mine.number >> 8 & 255}.{mine.number & 255}", 0))


def one(port, token, key, number, candidate):
    mine.number = number
    s = portal_ws.Socket(port, "client", {"token": token, "external_id": f"crowd-{number}", "name": f"crowd {number}",
                                          "public_key": key})
    s.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    init = s.join()
    s.send("create_flow", {"resource_id": init["resources"][0]["id"], "connected_gateway_ids": []})
    made = s.frame(20)
    assert made["event"] == "flow_created", made
    made = made["payload"]
    ours, theirs = made["client_ice_credentials"], made["gateway_ice_credentials"]
    s.send("broadcast_ice_candidates", {"gateway_ids": [made["gateway_id"]],
                                        "candidates": [candidate + " ufrag " + ours["username"]]})
    s.send("heartbeat", {}, "phoenix")  # nothing answers a candidate: what answers this has read it
    while s.frame()["event"] != "phx_reply":
        pass
    s.close()
    return " ".join((init["interface"]["ipv4"], made["preshared_key"], made["gateway_public_key"], ours["username"],
                     ours["password"], theirs["username"], theirs["password"]))


def main():
    port, token_files, endpoints = sys.argv[1:]
    keys = [line.split()[0] for line in sys.stdin]
    endpoints = [e.rsplit(":", 1) for e in endpoints.split(",")]
    each = -(-len(keys) // len(endpoints))

    def candidate(i):
        ip, udp = endpoints[i // each]
        return f"candidate:c 1 udp 2130706431 {ip} {udp} typ host"

    tokens = []
    for i in range((len(keys) + 999) // 1000):
        with open(token_files.format(i)) as f:
            tokens.append(f.read().strip())
    portal_ws.connect = connect
    with multiprocessing.pool.ThreadPool(AT_ONCE) as pool:
        for line in pool.imap(lambda i: one(int(port), tokens[i // 1000], keys[i], i, candidate(i)), range(len(keys))):
            print(line)


main()
