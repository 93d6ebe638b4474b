# SPDX-License-Identifier: Apache-2.0
"""Plays client, gateway and relay against a real penstock-portal. Run by t_portal-wire.sh in a network
namespace of its own: portal_wire.py PORTAL-BINARY SCRATCH-DIRECTORY."""
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from portal_ws import CLIENT_KEY, GATEWAY_KEY, Closed, Refused, Socket, connect, http  # noqa: E402

BIN, TMP = sys.argv[1], sys.argv[2]
WS, WSS = 8080, 8443
CONFIG, STATE, LOG = (os.path.join(TMP, n) for n in ("portal.json", "state.json", "portal.log"))
# Tokens are opaque: one has every character a query string must encode.
TOK = {"g": "gateway/+=&? %23#-0123456789012345678901", "a": "alice-0123456789012345678901234567890123",
       "b": "bob-0123456789012345678901234567890123456", "r": "relay-012345678901234567890123456789012",
       "s": "shared-secret-of-the-static-relay-0123456789",
       "i": "idle-0123456789012345678901234567890123456"}
STAMP, RELAY_ID = "aa" * 32, "ffe054fe-7ae0-4b6d-865c-3af9b61d5209"
failed = count = 0
proc = None


def check(what, ok, note=""):
    global failed, count
    count += 1
    if not ok:
        failed += 1
    print(f"{'ok' if ok else 'not ok'} {count} - {what}{'' if ok else f'  # {note}'}", flush=True)
    return ok


def sha(token):
    return hashlib.sha256(token.encode()).hexdigest()


def config(**over):
    cfg = {
        "account_slug": "acme", "state_file": STATE,
        "listen": [{"address": f"127.0.0.1:{WS}"}, {"address": f"[::1]:{WS}"},
                   {"address": f"127.0.0.1:{WSS}",
                    "tls": {"cert_file": f"{TMP}/cert.pem", "key_file": f"{TMP}/key.pem"}}],
        "limits": {"max_connections": 60, "max_connections_per_address": 50},
        "sites": [{"name": "lab"}, {"name": "far"}],
        "gateways": [{"name": "g", "site": "lab", "token_sha256": sha(TOK["g"])},
                     {"name": "i", "site": "far", "token_sha256": sha(TOK["i"])}],
        "clients": [{"name": "alice", "groups": ["staff"], "token_sha256": sha(TOK["a"])},
                    {"name": "bob", "token_sha256": sha(TOK["b"])}],
        "relays": [{"name": "r", "token_sha256": sha(TOK["r"])}],
        "resources": [{"name": "lan", "type": "cidr", "address": "10.20.0.0/16", "site": "lab"},
                      {"name": "web", "type": "cidr", "address": "10.30.0.0/16", "site": "lab"}],
        "policies": [{"group": "staff", "resource": "lan"}],
    }
    cfg.update(over)
    return json.dumps(cfg, indent=1)


def by_rename(text):
    with open(CONFIG + ".new", "w") as f:
        f.write(text)
    os.rename(CONFIG + ".new", CONFIG)


def in_place(text):
    with open(CONFIG, "w") as f:
        f.write(text)


def log_text():
    with open(LOG) as f:
        return f.read()


def wait_log(pattern, timeout=5, since=0):
    end = time.time() + timeout
    while time.time() < end:
        if re.search(pattern, log_text()[since:]):
            return True
        time.sleep(0.02)
    return False


def start():
    global proc
    log = open(LOG, "a")
    since = os.path.getsize(LOG)
    proc = subprocess.Popen([BIN, "--config", CONFIG, "--log-level", "debug"], stderr=log, stdout=log)
    if not wait_log("listening.*wss", 20, since):
        print(log_text())
        sys.exit("the portal does not start")


def stop(sig=signal.SIGTERM):
    proc.send_signal(sig)
    return proc.wait(20)


def client(who="a", port=WS, **kw):
    return Socket(port, "client", {"token": TOK[who], "external_id": "dev-" + who, "name": "laptop " + who,
                                   "public_key": CLIENT_KEY}, **kw)


def gateway(ident="gw", port=WS, who="g", **kw):
    return Socket(port, "gateway", {"token": TOK[who], "external_id": ident, "public_key": GATEWAY_KEY}, **kw)


def relay(port=WS, **kw):
    return Socket(port, "relay", {"token": TOK["r"], "ipv4": "203.0.113.10", "ipv6": "2001:db8::10", "port": 3478},
                  agent="relay/0.1.0", **kw)


def relay_entries(key, end=2145916800):
    """What a component with this public key is told about our relay."""
    def digest(text):
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    salt = digest(key)
    return [{"id": RELAY_ID, "type": "turn", "addr": addr, "username": f"{end}:{salt}",
             "password": digest(f"{end}:{STAMP}:{salt}"), "expires_at": end}
            for addr in ("203.0.113.10:3478", "[2001:db8::10]:3478")]


def flow(c, g, resource):
    c.send("create_flow", {"resource_id": resource, "connected_gateway_ids": []})
    auth = g.frame()
    assert auth["event"] == "authorize_flow", auth
    g.send("flow_authorized", {"ref": auth["payload"]["ref"]})
    assert g.frame()["payload"] == {"status": "ok", "response": {}}
    made = c.frame()
    assert made["event"] == "flow_created", made
    return auth["payload"], made["payload"]


def test_http():
    get = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n"
    check("healthz on ws", http("127.0.0.1", WS, get.format("/healthz")) == (200, "ok\n"))
    check("healthz on IPv6", http("::1", WS, get.format("/healthz"))[0] == 200)
    check("healthz on wss", http("127.0.0.1", WSS, get.format("/healthz"), f"{TMP}/cert.pem")[0] == 200)
    for path in ("/", "/client", "/clients/websocket", "/healthz/x", "/../etc/passwd"):
        check(f"404 for {path}", http("127.0.0.1", WS, get.format(path))[0] == 404)
    check("400 without upgrade", http("127.0.0.1", WS, get.format("/client/websocket?token=x"))[0] == 400)
    check("400 for POST", http("127.0.0.1", WS, "POST /client/websocket HTTP/1.1\r\nHost: x\r\n"
                               "Content-Length: 0\r\n\r\n")[0] == 400)
    check("no plain HTTP on the TLS port", raises(lambda: http("127.0.0.1", WSS, get.format("/healthz"))))


def raises(fn):
    try:
        fn()
    except (OSError, ConnectionError, Closed, ValueError):
        return True
    return False


def refused(what, status, body, role="client", params=None, **kw):
    try:
        Socket(WS, role, params, **kw)
    except Refused as r:
        check(what, (r.status, r.body) == (status, body), f"{r.status} {r.body!r}")
    else:
        check(what, False, "let in")


def test_refusals():
    blank = "Invalid or missing connection parameters: external_id: can't be blank; public_key: can't be blank\n"
    refused("no token", 401, "Missing token")
    refused("unknown token", 401, "Invalid token", params={"token": "x" * 43})
    for role, who in (("client", "g"), ("client", "r"), ("gateway", "a"), ("relay", "g")):
        refused(f"{role} with another role's token", 401, "Invalid token", role,
                {"token": TOK[who], "external_id": "x", "public_key": CLIENT_KEY, "ipv4": "192.0.2.1"})
    refused("parameters missing", 422, blank, params={"token": TOK["a"]})
    refused("no user agent", 422, "Invalid or missing connection parameters: user_agent: is invalid\n", params={
        "token": TOK["a"], "external_id": "x", "public_key": CLIENT_KEY}, agent=None)
    refused("serializer 2", 403, "", params={"token": TOK["a"], "vsn": "2.0.0"})
    refused("unknown path", 404, "Not found", path="/client/v3/websocket")


def test_trace(port, what, **kw):
    r = relay(port=port, **kw)
    check(f"{what}: relay joins", r.join({"stamp_secret": STAMP}) == {})
    g = gateway(port=port, **kw)
    init = g.join()
    check(f"{what}: gateway's init", init["account_slug"] == "acme" and init["config"] == {
        "ipv4_masquerade_enabled": True, "ipv6_masquerade_enabled": True})
    check(f"{what}: gateway's relay", init["relays"] == relay_entries(GATEWAY_KEY), init["relays"])
    c = client(port=port, **kw)
    init = c.join()
    check(f"{what}: client's init", [x["name"] for x in init["resources"]] == ["lan"] and
          init["interface"]["upstream_dns"] == [] and init["interface"]["search_domain"] is None)
    check(f"{what}: client's relay", init["relays"] == relay_entries(CLIENT_KEY), init["relays"])
    auth, made = flow(c, g, init["resources"][0]["id"])
    check(f"{what}: both sides get the same secrets",
          auth["client"]["preshared_key"] == made["preshared_key"] and
          auth["client_ice_credentials"] == made["client_ice_credentials"] and
          auth["gateway_ice_credentials"] == made["gateway_ice_credentials"])
    c.send("broadcast_ice_candidates", {"gateway_ids": [made["gateway_id"]], "candidates": ["one", "two"]})
    got = g.frame()
    check(f"{what}: candidates reach the gateway", got["event"] == "ice_candidates" and got["payload"] == {
        "client_id": auth["client"]["id"], "candidates": ["one", "two"]}, got)
    g.send("broadcast_invalidated_ice_candidates", {"client_ids": [auth["client"]["id"]], "candidates": ["x"]})
    check(f"{what}: and back", c.frame()["payload"] == {"gateway_id": made["gateway_id"], "candidates": ["x"]})
    ref = c.send("heartbeat", {}, topic="phoenix")
    check(f"{what}: heartbeat", c.frame() == {"topic": "phoenix", "event": "phx_reply", "ref": ref, "payload": {
        "status": "ok", "response": {}}})
    for s in (r, g, c):
        s.close()
    return made["preshared_key"]


def test_relays():
    g, c, r = gateway("gw-relays"), client(), relay()
    g.join()
    c.join()
    since = time.time()
    r.join({"stamp_secret": STAMP})
    got = c.frame()
    check(f"a relay that joins is announced ({time.time() - since:.1f} s)", 0.9 < time.time() - since < 3 and
          got["event"] == "relays_presence" and got["ref"] is None and got["payload"] == {
              "disconnected_ids": [], "connected": relay_entries(CLIENT_KEY)}, got)
    check("to gateways as well", g.frame()["payload"]["connected"] == relay_entries(GATEWAY_KEY))
    again = relay()
    again.join({"stamp_secret": STAMP})
    check("the same relay on a new connection replaces the old one", r.closed() == 1000)
    c.frame()
    g.frame()
    again.sock.close()
    check("a relay whose connection breaks is taken back", c.frame()["payload"] == {
        "disconnected_ids": [RELAY_ID], "connected": []} and g.frame()["payload"]["disconnected_ids"] == [RELAY_ID])
    by_rename(config(static_relays=[{"id": RELAY_ID, "addr4": "192.0.2.7:3478", "shared_secret": TOK["s"]}]))
    got = c.frame()["payload"]
    user = got["connected"][0]["username"]
    check("a static relay with a shared secret", got["disconnected_ids"] == [] and
          got["connected"][0]["addr"] == "192.0.2.7:3478" and user.startswith("2145916800:") and
          got["connected"][0]["password"] == base64.b64encode(
              hmac.new(TOK["s"].encode(), user.encode(), "sha1").digest()).decode(), got)
    g.frame()
    by_rename(config(static_relays=[{"id": RELAY_ID, "addr4": "192.0.2.7:3478", "username": "u", "password": "p"}]))
    got = c.frame()["payload"]
    check("its new credentials replace the old ones", got["disconnected_ids"] == [RELAY_ID] and
          [(e["id"], e["username"], e["password"]) for e in got["connected"]] == [(RELAY_ID, "u", "p")], got)
    by_rename(config())
    check("until it is gone", c.frame()["payload"] == {"disconnected_ids": [RELAY_ID], "connected": []})
    for s in (g, c):
        s.close()
    time.sleep(0.3)


def test_header_token():
    s = Socket(WS, "client", {"external_id": "dev-a", "public_key": CLIENT_KEY}, header_token=TOK["a"])
    check("token from the header", s.join()["resources"])
    s.close()
    refused("the header counts before the query", 401, "Invalid token", params={
        "token": TOK["a"], "external_id": "x", "public_key": CLIENT_KEY}, header_token="y" * 43)


def test_frames():
    for what, text in (("not JSON", "hello"), ("array form", '[null,0,"client","phx_join",{}]'), ("no ref", json.dumps(
            {"topic": "client", "event": "x", "payload": {}})), ("empty message", "")):
        c = client()
        c.join()
        c.text(text)
        check(f"malformed ({what}) drops the socket", c.closed() == 1002)
    c = client()
    c.raw(2, b"{}")
    check("binary drops the socket", c.closed() == 1002)
    c = client()
    c.raw(1, b"[" * 140000)
    check("an oversized message drops the socket", c.closed() == 1009)
    c = client()
    c.raw(1, b"\xff\xfe")
    check("what is no UTF-8 drops the socket", c.closed() in (1002, 1007))
    c = client()
    c.sock.sendall(b"\x81\x02{}")
    check("an unmasked frame drops the socket", c.closed() is not False)
    c = client()
    join = json.dumps({"topic": "client", "event": "phx_join", "payload": None, "ref": 3}).encode()
    for i, b in enumerate(join):
        c.raw(1 if i == 0 else 0, bytes([b]), fin=i == len(join) - 1)
    check("a message in single-byte fragments", c.frame()["ref"] == 3 and c.frame()["event"] == "init")
    c.raw(9, b"hi")
    c.sock.settimeout(2)
    check("a ping is answered", c._take(4) == b"\x8a\x02hi")
    c.send("nonsense", {})
    check("unknown event", c.frame()["payload"] == {"status": "error", "response": {"reason": "unknown_message"}})
    c.send("x", {}, topic="gateway")
    check("other topic", c.frame()["payload"]["response"] == {"reason": "unmatched topic"})
    c.send("phx_leave", {})
    check("leave", c.frame()["event"] == "phx_reply" and c.frame()["event"] == "phx_close")
    c.send("create_flow", {})
    check("not joined any more", c.frame()["payload"]["response"] == {"reason": "unmatched topic"})
    c.close()


def test_reload():
    g, c, b = gateway(), client(), client("b")
    g.join()
    lan = c.join()["resources"][0]["id"]
    b.join()
    cid = flow(c, g, lan)[0]["client"]["id"]
    slow = 0
    for how in (by_rename, in_place, by_rename):
        t = time.time()
        how(config(policies=[]))
        got = g.frame()
        slow = max(slow, time.time() - t)
        check(f"revoked ({how.__name__})", got["event"] == "reject_access" and got["payload"] == {
            "client_id": cid, "resource_id": lan}, got)
        check("client told", c.frame() == {"topic": "client", "event": "resource_deleted", "ref": None, "payload": lan})
        how(config())
        check("granted again", c.frame()["payload"]["id"] == lan)
        flow(c, g, lan)
    check(f"within 0.3 s of the change ({slow * 1000:.0f} ms)", slow < 0.3)
    since = os.path.getsize(LOG)
    broken = config().replace('"resource": "lan"', '"resource": "wan"')
    line = broken[:broken.index('"wan"')].count("\n") + 1
    by_rename(broken)
    check("a bad file is named by line and field",
          wait_log(rf"refused.*portal\.json:{line}.*policies\[0\]\.resource", 5, since), log_text()[since:])
    by_rename("{")
    check("so is one that is no JSON", wait_log(r"refused.*portal\.json:1\b.*JSON", 5, since), log_text()[since:])
    check("and nothing changes", g.silent() and c.silent())
    in_place(config(policies=[]))
    check("until it is a good one again", g.frame()["event"] == "reject_access")
    c.frame()
    os.utime(CONFIG)
    by_rename(config(dns={"upstream": ["192.0.2.53"]}))
    changed = c.frame()
    check("config_changed", changed["event"] == "config_changed" and changed["payload"]["interface"]["upstream_dns"] == [
        {"protocol": "ip_port", "address": "192.0.2.53:53"}], changed)
    b.frame()
    c.frame()
    since = os.path.getsize(LOG)
    proc.send_signal(signal.SIGHUP)
    check("SIGHUP reloads", wait_log("SIGHUP(.|\n)*reloaded", 5, since))
    by_rename(config(clients=[{"name": "alice", "groups": ["staff"], "token_sha256": sha(TOK["a"])}]))
    check("a removed token expels", b.frame() == {"topic": "client", "event": "disconnect", "ref": None, "payload": {
        "reason": "token_expired"}} and b.closed() == 1000)
    soon = int(time.time()) + 2
    by_rename(config(clients=[{"name": "alice", "groups": ["staff"], "token_sha256": sha(TOK["a"]),
                               "expires_at": soon}]))
    while True:
        got = c.frame()
        if got["event"] == "disconnect":
            break
    check("a token that runs out expels", time.time() >= soon and c.closed() == 1000)
    refused("and is refused", 401, "Invalid token", params={
        "token": TOK["a"], "external_id": "dev-a", "public_key": CLIENT_KEY})
    by_rename(config())
    g.close()
    time.sleep(0.3)


def test_resources():
    def names(address="**.corp.example", sites=("lab",), filters=(), **more):
        return {"name": "corp", "type": "dns", "address": address, "sites": list(sites), "filters": list(filters), **more}
    everything = {"name": "everything", "type": "internet", "site": "lab"}
    pol = [{"group": "staff", "resource": "corp"}, {"actor": "alice", "resource": "everything"}]
    dns = {"upstream": ["192.0.2.53", "[2001:db8::53]:5353"], "search_domain": "corp.example"}
    by_rename(config(resources=[names(), everything], policies=pol, dns=dns))
    time.sleep(0.4)
    g1, c = gateway("gw-1"), client()
    g1.join()
    init = c.join()
    corp, net = init["resources"]
    check("the client's resolvers", init["interface"]["upstream_dns"] == [
        {"protocol": "ip_port", "address": a} for a in ("192.0.2.53:53", "[2001:db8::53]:5353")] and
        init["interface"]["search_domain"] == "corp.example", init["interface"])
    check("a DNS resource", {k: v for k, v in corp.items() if k not in ("id", "gateway_groups")} == {
        "type": "dns", "address": "**.corp.example", "address_description": None, "name": "corp", "filters": [],
        "ip_stack": "dual"} and [s["name"] for s in corp["gateway_groups"]] == ["lab"], corp)
    check("the Internet resource", net == {"id": net["id"], "type": "internet", "can_be_disabled": True,
                                           "gateway_groups": net["gateway_groups"]}, net)
    auth, made = flow(c, g1, net["id"])
    check("as its gateway sees it", auth["resource"] == {"id": net["id"], "type": "internet"}, auth["resource"])
    g2 = gateway("gw-2")
    g2.join()
    c.send("create_flow", {"resource_id": corp["id"], "connected_gateway_ids": [made["gateway_id"]]})
    auth = g1.frame()["payload"]
    check("the gateway she is connected to is asked for the names", auth["resource"] == {
        "id": corp["id"], "type": "dns", "address": "**.corp.example", "name": "corp", "filters": []}, auth["resource"])
    g1.close()
    auth = g2.frame(8)
    check("gone, it is passed over for the next", auth["event"] == "authorize_flow", auth)
    g2.send("flow_authorized", {"ref": auth["payload"]["ref"]})
    g2.frame()
    check("and that one it is", c.frame()["event"] == "flow_created")
    by_rename(config(resources=[names(filters=[{"protocol": "icmp"}]), everything], policies=pol, dns=dns))
    got = g2.frame()
    check("filters are updated", got["event"] == "resource_updated" and got["payload"]["filters"] == [
        {"protocol": "icmp"}], got)
    check("at the client too", c.frame()["payload"]["filters"] == [{"protocol": "icmp"}])
    by_rename(config(resources=[names("*.corp.example", filters=[{"protocol": "icmp"}]), everything], policies=pol, dns=dns))
    check("another pattern revokes", g2.frame()["event"] == "reject_access")
    check("and flaps", [c.frame()["event"] for _ in range(2)] == ["resource_deleted", "resource_created_or_updated"])
    t = time.time()
    c.send("create_flow", {"resource_id": corp["id"], "connected_gateway_ids": []})
    g2.frame()
    g3 = gateway("gw-3")
    g3.join()
    auth = g3.frame(10)
    check("a silent one is passed over", auth["event"] == "authorize_flow" and 4 < time.time() - t < 8, time.time() - t)
    check("and loses what it was told", g2.frame()["event"] == "reject_access")
    soon = int(time.time()) + 2
    g3.send("flow_authorized", {"ref": auth["payload"]["ref"]})
    g3.frame()
    c.frame()
    short = [dict(pol[0], expires_at=soon), pol[1]]
    res = [names("*.corp.example", filters=[{"protocol": "icmp"}]), everything]
    by_rename(config(resources=res, policies=short, dns=dns))
    check("an earlier end revokes", g3.frame()["event"] == "reject_access")
    check("and flaps again", [c.frame()["event"] for _ in range(2)] == ["resource_deleted", "resource_created_or_updated"])
    flow_to = flow(c, g3, corp["id"])[0] if g2.close() is None and not time.sleep(0.3) else None
    check("until then", flow_to["expires_at"] == soon, flow_to)
    later = [dict(pol[0], expires_at=soon + 3600), pol[1]]
    by_rename(config(resources=res, policies=later, dns=dns))
    got = g3.frame()
    check("a later end is told", got["event"] == "access_authorization_expiry_updated" and
          got["payload"]["expires_at"] == soon + 3600, got)
    for s in (g3, c):
        s.close()
    by_rename(config())
    time.sleep(0.4)


def test_restart():
    g, c = gateway("gw-restart"), client()
    g.join()
    lan = c.join()
    flow(c, g, lan["resources"][0]["id"])
    time.sleep(0.3)
    check("the state file is private", stat.S_IMODE(os.stat(STATE).st_mode) == 0o600)
    second = subprocess.run([BIN, "--config", CONFIG], capture_output=True, text=True, timeout=20)
    check("a second portal on the same state refuses", second.returncode == 1 and "another portal" in second.stderr)
    rc = [None]
    stopper = threading.Thread(target=lambda: rc.__setitem__(0, stop()))
    stopper.start()
    check("SIGTERM closes with 1012", g.closed() == 1012 and c.closed() == 1012)
    g.close()
    c.close()
    stopper.join()
    check("and exits 0", rc[0] == 0, rc[0])
    for how in ("restart", "crash"):
        start()
        g, c = gateway("gw-restart"), client()
        init = g.join()
        check(f"{how}: the gateway keeps its authorisations", len(init["authorizations"]) == 1 and
              init["authorizations"][0]["resource_id"] == lan["resources"][0]["id"], init["authorizations"])
        check(f"{how}: the client keeps its addresses", c.join()["interface"] == lan["interface"])
        g.close()
        c.close()
        time.sleep(0.2)
        stop(signal.SIGKILL)
    start()


def test_hostile():
    hold = []
    try:
        for _ in range(80):
            s = connect("127.0.0.1", WS)
            hold.append(s)
        time.sleep(0.5)
        open_now = 0
        for s in hold:
            s.setblocking(False)
            try:
                open_now += s.recv(1) != b""
            except BlockingIOError:
                open_now += 1
            except ConnectionError:
                pass
        check(f"connections of one address are limited ({open_now} stay)", open_now <= 50)
    finally:
        for s in hold:
            s.close()
    time.sleep(1)
    check("a huge header is refused", raises(lambda: http("127.0.0.1", WS, "GET /healthz HTTP/1.1\r\nX: " + "y" * 60000)))
    for junk in (b"\0" * 500, b"GET " + b"/" * 30000 + b" HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\r\n" * 200,
                 b"GET /client/websocket?" + b"%" * 900 + b" HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
                 b"GET /client/websocket?token=" + b"x" * 12000 + b" HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"):
        for port in (WS, WSS):
            s = connect("127.0.0.1", port)
            try:
                s.sendall(junk)
                s.settimeout(0.2)
                s.recv(100)
            except OSError:
                pass
            s.close()
    check("junk is survived", proc.poll() is None and http("127.0.0.1", WS, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")[0]
          == 200)
    long = "t" * 4000
    refused("a token of 4000 characters is read", 401, "Invalid token", params={"token": long})


def test_slow_reader():
    g, c = gateway("gw-slow"), client()
    g.join()
    gid = flow(c, g, c.join()["resources"][0]["id"])[1]["gateway_id"]
    g.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    since = os.path.getsize(LOG)
    blob = ["x" * 60000]
    for _ in range(200):
        c.send("broadcast_ice_candidates", {"gateway_ids": [gid], "candidates": blob})
    check("a reader that does not read is cut off", wait_log("reader too slow", 10, since))
    ref = c.send("heartbeat", {}, topic="phoenix")
    check("the others go on", c.frame()["ref"] == ref)
    g.close()
    c.close()


def test_commands():
    out = subprocess.run([BIN, "token"], capture_output=True, text=True, timeout=20)
    m = re.fullmatch(r"token +(\S{43})\ntoken_sha256 +([0-9a-f]{64})\n", out.stdout)
    check("token prints a token and its hash", out.returncode == 0 and m and sha(m[1]) == m[2], out.stdout)
    ok = subprocess.run([BIN, "--check", CONFIG], capture_output=True, text=True, timeout=20)
    check("--check accepts", ok.returncode == 0 and "valid" in ok.stdout)
    with open(f"{TMP}/bad.json", "w") as f:
        f.write(config(sites=[]))
    bad = subprocess.run([BIN, "--check", f"{TMP}/bad.json"], capture_output=True, text=True, timeout=20)
    check("--check refuses with line and field", bad.returncode == 2 and re.search(
        r"bad\.json:\d+: gateways\[0\]\.site ", bad.stderr), bad.stderr)
    for args, rc in (([], 2), (["--nope"], 2), (["nope"], 2), (["--check", "/nonexistent"], 2), (["--version"], 0),
                     (["--help"], 0), (["--config", f"{TMP}/bad.json"], 2), (["--log-format", "xml"], 2)):
        got = subprocess.run([BIN, *args], capture_output=True, text=True, timeout=20, env={}).returncode
        check(f"exit code of {args}", got == rc, got)


def main():
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", f"{TMP}/key.pem", "-out", f"{TMP}/cert.pem", "-days", "2", "-subj", "/CN=portal",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    in_place(config())
    test_commands()
    start()
    idle, idle_since = gateway("idle", who="i"), time.time()
    idle.join()
    test_http()
    test_refusals()
    psk = test_trace(WS, "ws")
    test_trace(WSS, "wss", cafile=f"{TMP}/cert.pem")
    test_relays()
    test_header_token()
    test_frames()
    test_reload()
    test_resources()
    test_slow_reader()
    test_hostile()
    idle_code = idle.closed(45)
    waited = time.time() - idle_since
    check(f"a silent gateway is dropped after 37 s ({waited:.1f} s)", idle_code == 1000 and 36 <= waited < 42)
    test_restart()
    text = log_text()
    check("no secret in the log", psk not in text and not any(t in text for t in (STAMP, *TOK.values())))
    check("stops cleanly", stop() == 0)
    check("no sanitizer report", not re.search("Sanitizer|runtime error", log_text()), log_text()[-3000:])
    print(f"1..{count}")
    return failed != 0


try:
    sys.exit(main())
except BaseException:
    if not isinstance(sys.exc_info()[1], SystemExit):
        print("not ok - stopped by an exception; the end of the log:")
        print(log_text()[-4000:] if os.path.exists(LOG) else "")
    raise
finally:
    if proc and proc.poll() is None:
        proc.kill()
