"""Draws the table between the marks `bench-broker` of a page as a picture (SVG): memory by connections. plot.py PAGE FILE"""
import pathlib
import re
import sys

ROW = re.compile(r"^\| (plain|mTLS), ([\d,]+) connections \|[^|]*\| ([^|]*)\| ([^|]*)\|", re.MULTILINE)
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 360, 60, 50, 20, 230
COLOURS = {"sally": "#1b6ca8", "mosquitto": "#b5651d"}


def figures(page):
    """(server, kind) → [(connections, KiB each)]"""
    lines = {}
    for kind, count, *cells in ROW.findall(page.read_text()):
        for server, cell in zip(COLOURS, cells):
            if each := re.match(r"\s*([\d.]+)", cell):
                lines.setdefault((server, kind), []).append((int(count.replace(",", "")), float(each[1])))
    return lines


def draw(lines):
    most_x = max(x for points in lines.values() for x, _ in points)
    most_y = max(y * x / 1024 for points in lines.values() for x, y in points) * 1.05
    across = lambda x: LEFT + x / most_x * (WIDTH - LEFT - RIGHT)
    up = lambda y: HEIGHT - BOTTOM - y / most_y * (HEIGHT - TOP - BOTTOM)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for x in sorted({x for points in lines.values() for x, _ in points}):
        parts.append(f'<text x="{across(x):.0f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:,}</text>')
    for step in range(5):
        y = most_y * step / 4
        parts.append(f'<path d="M{LEFT} {up(y):.0f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                     f'<text x="{LEFT - 8}" y="{up(y) + 4:.0f}" text-anchor="end">{y:.0f}</text>')
    for (server, kind), points in lines.items():
        path = " ".join(f"{across(x):.1f},{up(x * y / 1024):.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if kind == "plain" else ""
        x, y = points[-1]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[server]}" stroke-width="2"{dash}/>'
                     f'<text x="{across(x) + 8:.0f}" y="{up(x * y / 1024) + 4:.0f}" fill="{COLOURS[server]}">{server}, {kind}: {y} KiB each</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">idle devices connected</text>'
                 f'<text x="14" y="{(TOP + HEIGHT - BOTTOM) / 2:.0f}" transform="rotate(-90 14 {(TOP + HEIGHT - BOTTOM) / 2:.0f})" text-anchor="middle">'
                 'MiB resident</text></svg>')
    return "\n".join(parts) + "\n"


page, file = map(pathlib.Path, sys.argv[1:])
file.write_text(draw(figures(page)))
