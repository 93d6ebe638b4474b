# SPDX-License-Identifier: Apache-2.0
"""Plots and tables of a record of benches: a file of JSON lines in which one contender stands beside another ("who",
"peer"); lines of what was measured alone have a table and no plot.

    plot.py RECORD DIR        NAME.svg and NAME_handicap.svg in DIR, for NAME tcp, cpu, rtt, capacity, … and ratios; tables as
                              Markdown on stdout
    plot.py --table RECORD    the tables only

A panel a bench: a bar a contender, its median, its range from min to max. What is more than three times as much as any
tunnel is cut off and keeps its figure; packets a second are on a logarithmic scale instead. In the plot of ratios bars go up
from 1 where ours is the better, and a dash is what we aim at. Without colours of the page: neither black nor white, for light and dark. The same record makes the same bytes."""
import html
import json
import math
import os
import sys

INK, GRID = "#777777", "#77777755"
COLOURS = {"plain": "#8c8c8c", "penstock-auto": "#2f81f7", "penstock-user": "#6e56cf", "penstock-kernel": "#1a9e96",
           "wireguard-go": "#e5743a"}
MORE_COLOURS = ("#c9a227", "#b5477a", "#5b8c3e", "#a0623a")
FAMILIES = (("tcp", ("tcp_",)), ("cpu", ("cpu_",)), ("rtt", ("rtt_",)), ("other", ("setups_", "rss_")),
            ("capacity", ("capacity_", "pps_")), ("peers", ("peers_", "handshakes")), ("relayed", ("relayed_",)))
LOGARITHMIC = ("capacity_", "pps_")
AIMS = {  # of ratios, at least
    ("tcp_up_1", "wireguard-go"): 2, ("tcp_down_1", "wireguard-go"): 2,
    ("tcp_up_1", "wireguard-go-2022"): 10, ("tcp_down_1", "wireguard-go-2022"): 10,
    ("cpu_s_per_gb_gateway_up", "wireguard-go"): 2.5, ("cpu_s_per_gb_gateway_down", "wireguard-go"): 2.5,
    ("capacity_64", "wireguard-go"): 10, ("capacity_1280", "wireguard-go"): 3, ("pps_64", "wireguard-go"): 3.5,
    ("rtt_p50_idle", "plain"): 1 / 1.5, ("rtt_p50_idle", "wireguard-go"): 2, ("rtt_p99_500m", "wireguard-go"): 2.5,
    ("relayed_tcp_up_1", "direct"): 0.9, ("relayed_tcp_down_1", "direct"): 0.9}
OTHER_AIMS = (  # a bench, what of its line, its aim: at least, or at most where negative
    ("peers_10000_64", "to_one", -1.15), ("peers_10000_1280", "to_one", -1.15), ("handshakes", "of_model", 0.8),
    ("kernel_ingress_64_v4", "median", -450), ("kernel_ingress_1280_v4", "median", -3800))
SHADES = (1, 0.55, 0.3)  # of a colour, by peer
UNITS = {"us": "µs"}
BAR, GAP, HIGH, TOP, COLUMNS = 24, 4, 150, 34, 5


class Record:
    """values[handicap][bench][contender] = (median, min, max); ratios[handicap][bench][(ours, peer)] likewise. alone: lines
    without a contender. others: what OTHER_AIMS asks for, by bench."""

    def __init__(self, path):
        self.values, self.ratios, self.units, self.ours, self.peers = {}, {}, {}, [], []
        self.alone, self.others, self.envs, self.notes = [], {}, {}, {}
        with open(path, encoding="utf-8") as f:
            for line in f:
                if line.startswith("{"):
                    self.take(json.loads(line))

    def take(self, x):
        who, peer, h = x.get("who"), x.get("peer"), x.get("handicap", 0)
        if x.get("median") is None:
            return
        self.note(x["bench"], x.get("env", {}))
        for bench, field, _ in OTHER_AIMS:
            if bench == x["bench"] and x.get(field) is not None:
                self.others[bench, field] = x[field]
        if not who:
            self.alone.append(x)
            return
        self.units[x["bench"]] = UNITS.get(x["unit"], x["unit"]), x.get("better", "more")
        values = self.values.setdefault(h, {}).setdefault(x["bench"], {})
        values[who] = triple(x, "")
        if who not in self.ours:
            self.ours.append(who)
        if not peer:
            return
        if peer not in self.peers:
            self.peers.append(peer)
        if x.get("peer_median") is not None:
            values[peer] = triple(x, "peer_")
        if x.get("ratio"):
            ratios = self.ratios.setdefault(h, {}).setdefault(x["bench"], {})
            ratios[who, peer] = x["ratio"], x.get("ratio_min") or x["ratio"], x.get("ratio_max") or x["ratio"]

    def note(self, bench, env):
        """Where it was measured, and what is to be known of single parts of it."""
        for k in ("kernel", "cpu", "cpus", "version", "workers"):
            if env.get(k) is not None:
                self.envs.setdefault(k, set()).add(str(env[k]))
        for k, told in (("idle", "the machine was not idle"), ("short", "a short run, for trying")):
            if env.get(k) is (k == "short"):
                self.notes.setdefault(told, set()).add(env.get("part", bench))

    def contenders(self):
        return sorted(self.ours) + sorted(self.peers, key=lambda p: (p == "plain", p))


def triple(x, prefix):
    """Median, min and max of a line; a bench may have told no range."""
    median = x[prefix + "median"]
    return tuple(median if x.get(prefix + k) is None else x[prefix + k] for k in ("median", "min", "max"))


def colour(name, names):
    if name in COLOURS:
        return COLOURS[name]
    others = [n for n in names if n not in COLOURS]
    return MORE_COLOURS[others.index(name) % len(MORE_COLOURS)]


def short(v):
    """Three digits of a figure, as few characters as they take."""
    if v == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(v)))
    return f"{round(v, digits):.{max(0, min(digits, 4))}f}" if digits > 0 else f"{round(v, digits):.0f}"


def compact(v):
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if v >= unit:
            return short(v / unit) + name
    return short(v)


class Svg:
    def __init__(self, width, height, title):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
                      f'height="{height}" role="img" font-family="sans-serif" font-size="11" fill="{INK}">',
                      f"<title>{html.escape(title)}</title>"]

    def text(self, x, y, s, anchor="start", size=None, turn=None):
        more = f' font-size="{size}"' if size else ""
        more += f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{html.escape(s)}</text>')

    def rect(self, x, y, w, h, fill, title=None, opacity=1):
        fill += f'" fill-opacity="{opacity}' if opacity != 1 else ""
        inner = f"><title>{html.escape(title)}</title></rect>" if title else "/>"
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{max(h, 0.5):.1f}" fill="{fill}"{inner}')

    def line(self, x1, y1, x2, y2, stroke=INK, width=1):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" '
                          f'stroke-width="{width}"/>')

    def whisker(self, x, low, high):
        self.line(x, low, x, high)
        self.line(x - 3, low, x + 3, low)
        self.line(x - 3, high, x + 3, high)

    def legend(self, entries, width):
        x, y = 8, 16
        for name, fill, opacity in entries:
            if x > 8 and x + 24 + 6.5 * len(name) > width:
                x, y = 8, y + 16
            self.rect(x, y - 9, 10, 10, fill, opacity=opacity)
            self.text(x + 14, y, name)
            x += 34 + 6.5 * len(name)
        return y

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(self.parts + ["</svg>", ""]))


def ticks(top):
    step = 10 ** math.floor(math.log10(top))
    step = step / 5 if top / step < 1.5 else step / 2 if top / step < 4 else step
    n = 0
    while n * step <= top * 1.0001:
        yield n * step
        n += 1


def axis_top(values):
    """As high as the highest tunnel, or as anything that is not far above it."""
    tunnels = [v[2] for n, v in values.items() if n != "plain"] or [v[2] for v in values.values()]
    most = max(max(tunnels), 1e-9)
    return 1.12 * max([most] + [v[2] for v in values.values() if v[2] <= 3 * most])


def linear(values):
    """The highest value of an axis, where a value is on it, from 0 to 1, and its marks."""
    limit = axis_top(values)
    return limit, lambda v: max(0, min(v, limit)) / limit, [(t, f"{t:g}") for t in ticks(limit)]


def logarithmic(values):
    low = math.floor(math.log10(max(min(v[1] for v in values.values()) / 2, 1)))
    high = math.log10(max(v[2] for v in values.values()) * 1.5)
    marks = [m * 10 ** e for e in range(low, math.ceil(high)) for m in (1, 2, 5)]
    return 10 ** high, lambda v: max(0, (math.log10(max(v, 1)) - low) / (high - low)), [
        (m, f"{m / 1e6:g}M" if m >= 1e6 else f"{m / 1e3:g}k") for m in marks if m <= 10 ** high]


def panel(svg, left, top, name, unit, values, names):
    is_log = name.startswith(LOGARITHMIC)
    limit, share, marks = (logarithmic if is_log else linear)(values)
    figure = compact if is_log else short
    x, bottom = left + 34, top + TOP + HIGH
    width = len(names) * (BAR + GAP)

    def at(v):
        return bottom - HIGH * share(v)

    svg.text(left + 4, top + 14, name, size=12)
    svg.text(left + 4, top + 27, f"{unit[0]}, {unit[1]} is better" + (", logarithmic" if is_log else ""), size=9)
    for t, told in marks:
        svg.line(x, at(t), x + width, at(t), GRID)
        svg.text(x - 4, at(t) + 3, told, "end", 9)
    for n in names:
        if n in values:
            median, low, high = values[n]
            told = f"{n}: {short(median)} ({short(low)} to {short(high)})"
            svg.rect(x + GAP / 2, at(median), BAR, bottom - at(median), colour(n, names), told)
            if median <= limit:
                svg.whisker(x + GAP / 2 + BAR / 2, at(low), at(high))
            svg.text(x + GAP / 2 + BAR / 2, at(high) - 3, ("↑" if median > limit else "") + figure(median), "middle", 8)
        x += BAR + GAP


def plot_family(rec, h, benches, path, title):
    names = [n for n in rec.contenders() if any(n in rec.values[h][b] for b in benches)]
    wide = 34 + len(names) * (BAR + GAP) + 14
    rows = -(-len(benches) // COLUMNS)
    columns = -(-len(benches) // rows)
    width = max(columns * wide + 8, 360)
    svg = Svg(width, 40 + rows * (HIGH + TOP + 22), title)
    below = svg.legend([(n, colour(n, names), 1) for n in names], width) + 8
    for i, b in enumerate(benches):
        panel(svg, 4 + i % columns * wide, below + i // columns * (HIGH + TOP + 22), b, rec.units[b], rec.values[h][b], names)
    svg.save(path)


def plot_ratios(rec, h, path):
    """Against tunnels only: plain forwarding encrypts nothing. Time in softirq alone is part of a figure, not a merit."""
    ratios = {b: {p: v for p, v in r.items() if p[1] != "plain"} for b, r in rec.ratios.get(h, {}).items()}
    benches = [b for b in rec.values[h] if ratios.get(b) and "_softirq_" not in b]
    pairs = sorted({p for b in benches for p in ratios[b]})
    if not pairs:
        return []
    bar, left = 9, 44
    width = max(60 + sum(len(ratios[b]) * bar + 12 for b in benches), 420)
    flat = [v for b in benches for v in ratios[b].values()]
    low = min(-1, math.floor(math.log2(min(v[0] for v in flat))))
    high = max(1, math.ceil(math.log2(max(v[0] for v in flat))))
    high = max([high] + [math.ceil(math.log2(aim)) for (b, _), aim in AIMS.items() if b in benches])
    svg = Svg(width, 450, "Ratios to other tunnels")
    peers = sorted({p for _, p in pairs})
    looks = {(w, p): (f"{w} / {p}", colour(w, rec.ours), SHADES[min(peers.index(p), len(SHADES) - 1)]) for w, p in pairs}
    top = svg.legend(looks.values(), width) + 20

    def at(v):
        return top + 270 * (high - min(max(math.log2(v), low), high)) / (high - low)

    for e in range(low, high + 1):
        svg.line(left, at(2.0 ** e), width - 8, at(2.0 ** e), INK if e == 0 else GRID, 1.5 if e == 0 else 1)
        svg.text(left - 5, at(2.0 ** e) + 3, f"{2.0 ** e:g}", "end", 9)
    svg.text(left + 4, at(2.0 ** high) - 6, "above 1 ours is the better; twofold from line to line; dashes: aims", size=9)
    x = left + 6
    for b in benches:
        group = len(ratios[b]) * bar + 12
        for i, p in enumerate(sorted(ratios[b])):
            median, least, most = ratios[b][p]
            name, fill, opacity = looks[p]
            y = sorted((at(median), at(1)))
            told = f"{b}, {name}: {short(median)} ({short(least)} to {short(most)})"
            svg.rect(x + i * bar, y[0], bar - 1, y[1] - y[0], fill, told, opacity)
            svg.whisker(x + i * bar + (bar - 1) / 2, at(least), at(most))
            if (b, p[1]) in AIMS:
                svg.line(x + i * bar - 2, at(AIMS[b, p[1]]), x + (i + 1) * bar + 1, at(AIMS[b, p[1]]), INK, 2.5)
        svg.text(x + group / 2 - 6, at(2.0 ** low) + 14, b, "end", turn=-40)
        x += group
    svg.save(path)
    return [path]


def plots(rec, out):
    made = []
    os.makedirs(out, exist_ok=True)
    for h in sorted(rec.values):
        end = "_handicap.svg" if h else ".svg"
        families = [(f, [b for b in rec.values[h] if b.startswith(starts)]) for f, starts in FAMILIES]
        known = {b for _, benches in families for b in benches}
        families += [("more", [b for b in rec.values[h] if b not in known])]
        for family, benches in families:
            if benches:
                path = os.path.join(out, family + end)
                plot_family(rec, h, benches, path, f"{family}, handicap {h}")
                made.append(path)
        made += plot_ratios(rec, h, os.path.join(out, "ratios" + end))
    print("\n".join(made), file=sys.stderr)


def rows(heads, benches, cells):
    """cells(bench): one a head, or None; benches without any are left out."""
    print(f"| | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for b in benches:
        line = cells(b)
        if any(line):
            print(f"| `{b}` | {' | '.join(c or '' for c in line)} |")
    print()


def verdict(figure, aim):
    """aim: at least; negative: at most."""
    met = figure >= aim if aim > 0 else figure <= -aim
    return f"{'≥' if aim > 0 else '≤'} {short(abs(aim))}", "met" if met else "missed"


def aims(rec):
    lines = []
    for h in sorted(rec.ratios):
        for b, pairs in rec.ratios[h].items():
            for (w, p), v in pairs.items():
                if (b, p) in AIMS:
                    lines.append((f"`{b}`" + (", handicap" if h else ""), f"{w} / {p}",
                                  "{} ({}–{})".format(*map(short, v)), *verdict(v[0], AIMS[b, p])))
    for b, field, aim in OTHER_AIMS:
        if (b, field) in rec.others:
            lines.append((f"`{b}`", "" if field == "median" else f"`{field}`", short(rec.others[b, field]),
                          *verdict(rec.others[b, field], aim)))
    if lines:
        print("| bench | of | figure | aim | |\n|---|---|---|---|---|")
        print("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")


def alone(rec):
    if not rec.alone:
        return
    print("| | median | min | max | |\n|---|---|---|---|---|")
    for x in rec.alone:
        env = x.get("env", {})
        more = ", ".join([env[k] for k in ("backend",) if k in env] + [f"keys {env['keys']}" for _ in [0] if "keys" in env])
        print(f"| `{x['bench']}`{', ' + more if more else ''} | {' | '.join(map(short, triple(x, '')))} | "
              f"{UNITS.get(x['unit'], x['unit'])} |")
    print()


def table(rec):
    names = rec.contenders()
    print("; ".join(f"{k}: {', '.join(sorted(v))}" for k, v in sorted(rec.envs.items())) + "\n")
    for told, benches in sorted(rec.notes.items()):
        print(f"**{told[0].upper()}{told[1:]}**: {', '.join(sorted(benches))}\n")
    aims(rec)
    for h in sorted(rec.values):
        values, ratios = rec.values[h], rec.ratios.get(h, {})
        units = sorted({(b.split("_")[0], rec.units[b][0]) for b in values})
        print(f"Handicap {h}, medians ({', '.join(f'{b} in {u}' for b, u in units)}):\n")
        rows(names, values, lambda b: [short(values[b][n][0]) if n in values[b] else None for n in names])
        pairs = sorted({p for r in ratios.values() for p in r if p[1] != "plain"})
        print("Ratios, above 1 where ours is the better:\n")
        rows([f"{w.removeprefix('penstock-')} / {p}" for w, p in pairs], [b for b in ratios if not b.startswith("rss_") and
             "_softirq_" not in b], lambda b: ["{} ({}–{})".format(*map(short, ratios[b][p])) if p in ratios[b] else None
                                               for p in pairs])
    alone(rec)


if len(sys.argv) != 3:
    sys.exit(__doc__)
if sys.argv[1] == "--table":
    table(Record(sys.argv[2]))
else:
    plots(Record(sys.argv[1]), sys.argv[2])
    table(Record(sys.argv[1]))
