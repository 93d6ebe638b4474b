# SPDX-License-Identifier: Apache-2.0
"""Plots and tables of a record of benches: a file of JSON lines in which one contender stands beside another ("who",
"peer"; other lines are passed over).

    plot.py RECORD DIR        NAME.svg and NAME_handicap.svg in DIR, for NAME tcp, cpu, rtt, … and ratios
    plot.py --table RECORD    the same as Markdown on stdout

A panel a bench: a bar a contender, its median, its range from min to max. What is more than three times as much as any
tunnel is cut off and keeps its figure. In the plot of ratios bars go up from 1 where ours is the better. Without colours of
the page: neither black nor white, for light and dark. The same record makes the same bytes."""
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
            ("capacity", ("capacity",)))
SHADES = (1, 0.55, 0.3)  # of a colour, by peer
UNITS = {"us": "µs"}
BAR, GAP, HIGH, TOP, COLUMNS = 24, 4, 150, 34, 5


class Record:
    """values[handicap][bench][contender] = (median, min, max); ratios[handicap][bench][(ours, peer)] likewise."""

    def __init__(self, path):
        self.values, self.ratios, self.units, self.ours, self.peers = {}, {}, {}, [], []
        with open(path, encoding="utf-8") as f:
            for line in f:
                if line.startswith("{"):
                    self.take(json.loads(line))

    def take(self, x):
        who, peer, h = x.get("who"), x.get("peer"), x.get("handicap", 0)
        if not who or x.get("median") is None:
            return
        self.units[x["bench"]] = UNITS.get(x["unit"], x["unit"]), x.get("better", "more")
        values = self.values.setdefault(h, {}).setdefault(x["bench"], {})
        values[who] = x["median"], x["min"], x["max"]
        if who not in self.ours:
            self.ours.append(who)
        if not peer:
            return
        if peer not in self.peers:
            self.peers.append(peer)
        if x.get("peer_median") is not None:
            values[peer] = x["peer_median"], x["peer_min"], x["peer_max"]
        if x.get("ratio"):
            ratios = self.ratios.setdefault(h, {}).setdefault(x["bench"], {})
            ratios[who, peer] = x["ratio"], x["ratio_min"], x["ratio_max"]

    def contenders(self):
        return sorted(self.ours) + sorted(self.peers, key=lambda p: (p == "plain", p))


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


def panel(svg, left, top, name, unit, values, names):
    limit, x = axis_top(values), left + 34
    width = len(names) * (BAR + GAP)

    def at(v):
        return top + TOP + HIGH * (1 - min(v, limit) / limit)

    svg.text(left + 4, top + 14, name, size=12)
    svg.text(left + 4, top + 27, f"{unit[0]}, {unit[1]} is better", size=9)
    for t in ticks(limit):
        svg.line(x, at(t), x + width, at(t), GRID)
        svg.text(x - 4, at(t) + 3, f"{t:g}", "end", 9)
    for n in names:
        if n in values:
            median, low, high = values[n]
            told = f"{n}: {short(median)} ({short(low)} to {short(high)})"
            svg.rect(x + GAP / 2, at(median), BAR, at(0) - at(median), colour(n, names), told)
            if median <= limit:
                svg.whisker(x + GAP / 2 + BAR / 2, at(low), at(high))
            svg.text(x + GAP / 2 + BAR / 2, at(high) - 3, ("↑" if median > limit else "") + short(median), "middle", 8)
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
    bar = 9
    group = len(pairs) * bar + 12
    width, left = 60 + len(benches) * group, 44
    flat = [v for b in benches for v in ratios[b].values()]
    low = min(-1, math.floor(math.log2(min(v[0] for v in flat))))
    high = max(1, math.ceil(math.log2(max(v[0] for v in flat))))
    svg = Svg(width, 450, "Ratios to other tunnels")
    peers = sorted({p for _, p in pairs})
    look = [(f"{w} / {p}", colour(w, rec.ours), SHADES[min(peers.index(p), len(SHADES) - 1)]) for w, p in pairs]
    top = svg.legend(look, width) + 20

    def at(v):
        return top + 270 * (high - min(max(math.log2(v), low), high)) / (high - low)

    for e in range(low, high + 1):
        svg.line(left, at(2.0 ** e), width - 8, at(2.0 ** e), INK if e == 0 else GRID, 1.5 if e == 0 else 1)
        svg.text(left - 5, at(2.0 ** e) + 3, f"{2.0 ** e:g}", "end", 9)
    svg.text(left + 4, at(2.0 ** high) - 6, "above 1 ours is the better; twofold from line to line", size=9)
    x = left + 6
    for b in benches:
        for i, p in enumerate(pairs):
            if p in ratios[b]:
                median, least, most = ratios[b][p]
                y = sorted((at(median), at(1)))
                told = f"{b}, {look[i][0]}: {short(median)} ({short(least)} to {short(most)})"
                svg.rect(x + i * bar, y[0], bar - 1, y[1] - y[0], look[i][1], told, look[i][2])
                svg.whisker(x + i * bar + (bar - 1) / 2, at(least), at(most))
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
    print("\n".join(made))


def rows(heads, benches, cells):
    """cells(bench): one a head, or None; benches without any are left out."""
    print(f"| | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for b in benches:
        line = cells(b)
        if any(line):
            print(f"| `{b}` | {' | '.join(c or '' for c in line)} |")
    print()


def table(rec):
    names = rec.contenders()
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


if len(sys.argv) != 3:
    sys.exit(__doc__)
if sys.argv[1] == "--table":
    table(Record(sys.argv[2]))
else:
    plots(Record(sys.argv[1]), sys.argv[2])
