#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many clients ask penstock-portal for a flow each, one after the other, and leave: what they were told is all that the
load generator needs to be them (h_wgload --crowd).

crowd.py PORT TOKEN-FILE CLIENT-ENDPOINT   the portal is on this host; keys of `h_wgload keys` on stdin; a line a client on stdout:
                                                ADDRESS PSK GATEWAY-KEY UFRAG PASSWORD GATEWAY-UFRAG GATEWAY-PASSWORD
"""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
import portal_ws  # noqa: E402


def from_many(number):
    """Each from a loopback address of its own: the portal lets one address in 20 times a second."""
    source = f"127.1.{number >> 8 & 255}.{number & 255}"
    portal_ws.connect = lambda host, port, cafile=None, timeout=5: socket.create_connection((host, port), 20, (source, 0))


def one(port, token, key, number, candidate):
    from_many(number)
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
    print(init["interface"]["ipv4"], made["preshared_key"], made["gateway_public_key"], ours["username"], ours["password"],
          theirs["username"], theirs["password"])


def main():
    port, token_file, endpoint = sys.argv[1:]
    ip, udp = endpoint.rsplit(":", 1)
    with open(token_file) as f:
        token = f.read().strip()
    for number, line in enumerate(sys.stdin):
        one(int(port), token, line.split()[0], number, f"candidate:c 1 udp 2130706431 {ip} {udp} typ host")


main()
