"""Draws a state machine as SVG, from the ways that payguard.state_transitions() tells; doc/generate.py calls it.

The states stand below each other in the order in which the database names them. A way to the next state is an arrow
between the two boxes. Any other way leaves its box, runs along a lane of its own colour and enters the boxes that it
leads to: on the right where it leads down, on the left and dashed where it leads up. The layout knows no state by name.
"""
NEW = "new"                    # where a row comes from: the database leaves it empty
BOX, GAP, LANE, PORT, MARGIN = 150, 26, 16, 13, 14
COLOURS = (("#1f5fa8", "#7cb3ee"), ("#a8471f", "#f0996f"), ("#2c7a3f", "#76c98a"), ("#7b3fa0", "#c794e6"),
           ("#8a6d00", "#d9b83f"), ("#00757d", "#5cc7cf"), ("#a0245f", "#ee86b5"), ("#555555", "#b0b0b0"))


def states_of(ways):
    """Each state once, the new row first, the others as they begin a way; one that begins none comes last."""
    return list(dict.fromkeys([NEW] + [start for start, _ in ways] + [end for _, end in ways]))


def lanes_of(ways):
    """{source: its lane, from 0}: a short way has an inner lane; two share one where they do not meet."""
    reach = {}
    for start, end in ways:
        low, high = reach.get(start, (start, start))
        reach[start] = (min(low, end), max(high, end))
    taken, lanes = [], {}
    for source, (low, high) in sorted(reach.items(), key=lambda item: (item[1][1] - item[1][0], item[0])):
        number = next((n for n, spans in enumerate(taken) if all(high < a or low > b for a, b in spans)), len(taken))
        if number == len(taken):
            taken.append([])
        taken[number].append((low, high))
        lanes[source] = number
    return lanes


def svg(machine, ways):
    """The picture of one machine."""
    states = states_of(ways)
    number = {state: n for n, state in enumerate(states)}
    pairs = [(number[start], number[end]) for start, end in ways]
    sides = ([p for p in pairs if p[1] > p[0] + 1], [p for p in pairs if p[1] < p[0] - 1])       # right, left
    lanes = [lanes_of(side) for side in sides]
    ports = [{n: [p for p in side if p[1] == n] for n in range(len(states))} for side in sides]
    tops, heights, y = [], [], MARGIN
    for n in range(len(states)):
        count = max(len(ports[s][n]) + (n in lanes[s]) for s in (0, 1))
        heights.append(max(32, (count + 1) * PORT))
        tops.append(y)
        y += heights[n] + GAP
    rooms = [(max(lane.values()) + 2) * LANE if lane else 0 for lane in lanes]
    left = MARGIN + rooms[1]
    width, height = left + BOX + rooms[0] + MARGIN, y - GAP + MARGIN
    out = []
    for s, side in enumerate(sides):
        edge, way = (left + BOX, 1) if s == 0 else (left, -1)
        for source, lane in sorted(lanes[s].items(), key=lambda item: -item[1]):
            x = edge + way * (lane + 1) * LANE
            # the way out is on the side to which the lane leads
            start = tops[source] + (heights[source] - PORT if s == 0 else PORT)
            kind = f'class="way c{source % len(COLOURS)}{" back" if s else ""}"'
            ends = []
            for end in sorted(e for b, e in side if b == source):
                coming = sorted(ports[s][end], key=lambda p: lanes[s][p[0]])
                place = coming.index((source, end)) + 1
                ends.append(tops[end] + (place * PORT if s == 0 else heights[end] - place * PORT))
            far = max(ends) if s == 0 else min(ends)
            turn = way * min(6, LANE // 2)
            down = 6 if s == 0 else -6
            out.append(f'<path {kind} d="M{edge} {start}H{x - turn}Q{x} {start} {x} {start + down}V{far - down}'
                       f'Q{x} {far} {x - turn} {far}H{edge + way * 6}"/>')
            out += [f'<path {kind} d="M{x} {end}H{edge + way * 6}"/><circle class="dot c{source % len(COLOURS)}" cx="{x}" cy="{end}" r="2.5"/>'
                    for end in ends if end != far]
            out += [f'<path class="dot c{source % len(COLOURS)}" d="M{edge} {end}l{way * 8} -4v8z"/>' for end in ends]
    for start, end in pairs:
        if abs(end - start) == 1:
            both = (end, start) in pairs
            x = left + BOX // 2 + (0 if not both else 12 if end > start else -12)
            colour = start % len(COLOURS)
            begin, stop = (tops[start] + heights[start], tops[end]) if end > start else (tops[start], tops[end] + heights[end])
            back = 8 if end > start else -8
            out.append(f'<path class="way c{colour}{"" if end > start else " back"}" d="M{x} {begin}V{stop - back}"/>'
                       f'<path class="dot c{colour}" d="M{x} {stop}l-4 {-back}h8z"/>')
    for n, state in enumerate(states):
        round_ = ' rx="16"' if state == NEW else ' rx="4"'
        out.append(f'<rect class="box b{n % len(COLOURS)}" x="{left}" y="{tops[n]}" width="{BOX}" height="{heights[n]}"{round_}/>'
                   f'<text x="{left + BOX // 2}" y="{tops[n] + heights[n] // 2 + 4}">{state.replace("_", " ")}</text>')
    told = "; ".join(f"{state}: {', '.join(e for b, e in ways if b == state)}" for state in states if any(b == state for b, _ in ways))
    style = ["text{font:13px sans-serif;text-anchor:middle;fill:#1b1f24}.paper{fill:#ffffff}.box{fill:#f4f6f8;stroke-width:1.5}",
             ".way{fill:none;stroke-width:1.5}.back{stroke-dasharray:5 3}"]
    dark = ["text{fill:#e8eaed}.paper{fill:#14171a}.box{fill:#22262b}"]
    for n, (light_colour, dark_colour) in enumerate(COLOURS):
        style.append(f".c{n}.way,.b{n}{{stroke:{light_colour}}}.c{n}.dot{{fill:{light_colour}}}")
        dark.append(f".c{n}.way,.b{n}{{stroke:{dark_colour}}}.c{n}.dot{{fill:{dark_colour}}}")
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">',
                      f"<title>The states of an {machine}</title>" if machine[0] in "aeiou" else f"<title>The states of a {machine}</title>",
                      f"<desc>{told}</desc>",
                      "<style>" + "\n".join(style), "@media (prefers-color-scheme:dark){" + "\n".join(dark) + "}</style>",
                      f'<rect class="paper" width="{width}" height="{height}"/>'] + out + ["</svg>", ""])
