# SPDX-License-Identifier: Apache-2.0
"""A flame graph of what perf has sampled: perf script | flame.py [PART] > x.svg. A box is a function, as wide as its share of
the samples, on top of the one that called it; PART keeps the samples with such a thread name. Boxes below 0.2 % are left out;
their share is still in their caller's. The same samples make the same bytes."""
import html
import re
import sys
import zlib

WIDTH, ROW, LEAST = 1200, 17, 0.002
FRAME = re.compile(r"^\s+[0-9a-f]+ (.+) \((.*)\)$")


def samples(lines, part):
    """(thread, outermost function, …) of each sample."""
    thread, stack = None, []
    for line in lines:
        if not line.strip():
            if thread and stack and part in thread:
                yield [thread] + stack[::-1]
            thread, stack = None, []
        elif not line[0].isspace():
            thread = re.split(r"\s+\d+(?:/\d+)?\s", line, maxsplit=1)[0].strip()
        elif thread and line.lstrip()[0] not in "#":
            m = FRAME.match(line)
            if m:
                stack.append(re.sub(r"\+0x[0-9a-f]+$", "", m.group(1)))
            elif not stack:  # without a call chain it is in one line
                stack.append(line.split()[1])
    if thread and stack and part in thread:
        yield [thread] + stack[::-1]


def grow(tree, stack):
    """tree: [count, {function: tree}]"""
    tree[0] += 1
    for function in stack:
        tree = tree[1].setdefault(function, [0, {}])
        tree[0] += 1


def boxes(tree, total, x=0.0, depth=0):
    for name in sorted(tree[1]):
        count = tree[1][name][0]
        if count >= LEAST * total:
            yield name, x, count, depth
            yield from boxes(tree[1][name], total, x, depth + 1)
        x += count


def colour(name):
    return f"hsl({zlib.crc32(name.encode()) % 50 + 5},70%,62%)"


def main():
    root = [0, {}]
    for stack in samples(sys.stdin, sys.argv[1] if len(sys.argv) > 1 else ""):
        grow(root, stack)
    total = root[0]
    if not total:
        sys.exit("flame: no samples")
    drawn = list(boxes(root, total))
    height = (max(b[3] for b in drawn) + 1) * ROW + 24
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
          f'font-family="monospace" font-size="11">')
    print(f'<text x="4" y="{height - 7}" fill="#777777">{total} samples; the width is the share</text>')
    for name, x, count, depth in drawn:
        left, wide = x / total * WIDTH, count / total * WIDTH
        top = height - 24 - (depth + 1) * ROW
        shown = name[:int(wide / 6.8)] if wide > 20 else ""
        print(f'<g><title>{html.escape(name)}: {100 * count / total:.1f} %</title><rect x="{left:.1f}" y="{top}" '
              f'width="{max(wide - 0.5, 0.2):.1f}" height="{ROW - 1}" fill="{colour(name)}"/>'
              f'<text x="{left + 3:.1f}" y="{top + 12}" fill="#1a1a1a">{html.escape(shown)}</text></g>')
    print("</svg>")


main()
