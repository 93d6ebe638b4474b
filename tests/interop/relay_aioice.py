# SPDX-License-Identifier: Apache-2.0
"""aioice, the ICE and TURN stack of aiortc, against a relay: relay_aioice.py RELAY USER PASSWORD PEER

PEER answers every UDP datagram at port 3480 with the same bytes. One line "ok" or "not ok" a check."""
import asyncio
import sys

import aioice
from aioice import stun, turn

RELAY, USER, PASSWORD, PEER = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4]
failed = 0


def check(what, good):
    global failed
    failed += not good
    print(("ok " if good else "not ok ") + what, flush=True)


class Echo(asyncio.DatagramProtocol):
    def __init__(self):
        self.got = asyncio.Queue()

    def connection_made(self, transport):
        pass

    def connection_lost(self, exc):
        pass

    def datagram_received(self, data, addr):
        self.got.put_nowait((data, addr))


async def round_trip(transport, echo, payload):
    transport.sendto(payload, (PEER, 3480))
    data, addr = await asyncio.wait_for(echo.got.get(), 5)
    return data == payload and addr == (PEER, 3480)


def inner(transport):
    return transport._TurnTransport__inner_protocol


def request(method, **attributes):
    message = stun.Message(message_method=method, message_class=stun.Class.REQUEST)
    for name, value in attributes.items():
        message.attributes[name.replace("_", "-")] = value
    return message


async def refused(protocol, message):
    try:
        await protocol.request(message)
    except stun.TransactionFailed as e:
        return e.response.attributes["ERROR-CODE"][0]
    return 0


async def turn_client():
    transport, echo = await turn.create_turn_endpoint(
        Echo, server_addr=(RELAY, 3478), username=USER, password=PASSWORD, lifetime=600
    )
    protocol = inner(transport)
    check("allocate", transport.get_extra_info("sockname")[0] == RELAY)
    check("channel, there and back", await round_trip(transport, echo, b"x" * 1200))
    check("channel, an odd length", await round_trip(transport, echo, b"y" * 33))
    good = protocol.nonce
    protocol.nonce = good[:-4] + (b"AAAA" if good[-4:] != b"AAAA" else b"BBBB")
    stale = await refused(protocol, request(stun.Method.REFRESH, LIFETIME=600))
    check("a stale nonce is answered 438", stale == 438)
    response, _ = await protocol.request_with_retry(request(stun.Method.REFRESH, LIFETIME=900))
    check("refresh after it, asked for 900 s", response.attributes["LIFETIME"] == 900)
    again = request(stun.Method.ALLOCATE, REQUESTED_TRANSPORT=0x11000000)
    check("a second allocation on the socket is answered 437", await refused(protocol, again) == 437)
    taken = request(stun.Method.CHANNEL_BIND, CHANNEL_NUMBER=0x4000, XOR_PEER_ADDRESS=(PEER, 9))
    check("a channel bound to another peer is answered 400", await refused(protocol, taken) == 400)
    local = request(stun.Method.CHANNEL_BIND, CHANNEL_NUMBER=0x4001, XOR_PEER_ADDRESS=("127.0.0.1", 9))
    check("loopback as a peer is answered 403", await refused(protocol, local) == 403)
    await protocol.request_with_retry(request(stun.Method.REFRESH, LIFETIME=0))
    gone = await refused(protocol, request(stun.Method.REFRESH, LIFETIME=600))
    check("after its removal, refresh is answered 437", gone == 437)
    transport.close()
    try:
        await turn.create_turn_endpoint(
            Echo, server_addr=(RELAY, 3478), username=USER, password=PASSWORD + "x"
        )
        check("a wrong password is answered 401", False)
    except stun.TransactionFailed as e:
        check("a wrong password is answered 401", e.response.attributes["ERROR-CODE"][0] == 401)


async def ice_agents():
    agents = [
        aioice.Connection(
            ice_controlling=controlling,
            turn_server=(RELAY, 3478),
            turn_username=USER,
            turn_password=PASSWORD,
            transport_policy=aioice.TransportPolicy.RELAY,
        )
        for controlling in (True, False)
    ]
    for agent in agents:
        await agent.gather_candidates()
    kinds = {c.type for a in agents for c in a.local_candidates}
    check("ICE agents with nothing but relayed candidates", kinds == {"relay"})
    for mine, theirs in (agents, reversed(agents)):
        for candidate in theirs.local_candidates:
            await mine.add_remote_candidate(candidate)
        await mine.add_remote_candidate(None)
        mine.remote_username, mine.remote_password = theirs.local_username, theirs.local_password
    await asyncio.wait_for(asyncio.gather(*(a.connect() for a in agents)), 20)
    same = True
    for i in range(50):
        payload = bytes([i]) * (1 + 20 * i)
        await agents[i % 2].send(payload)
        same = same and await asyncio.wait_for(agents[1 - i % 2].recv(), 5) == payload
    check("they connect, and 50 messages pass from relayed address to relayed address", same)
    for agent in agents:
        await agent.close()


async def main():
    await turn_client()
    await ice_agents()


asyncio.get_event_loop().run_until_complete(asyncio.wait_for(main(), 100))
sys.exit(1 if failed else 0)
