# SPDX-License-Identifier: GPL-2.0-only
"""Work for an interpreter: numbers, dictionaries, strings, objects, sorting."""
import json
import re


class Body:
    def __init__(self, place, speed, mass):
        self.place, self.speed, self.mass = place, speed, mass


def bodies(steps):
    them = [Body([n * 1.5, n * 0.5 - 1, 2.0 - n], [0.1 * n, 0.0, -0.05], 1.0 + n) for n in range(5)]
    for _ in range(steps):
        for a in them:
            for b in them:
                if a is b:
                    continue
                gap = [q - p for p, q in zip(a.place, b.place)]
                square = sum(g * g for g in gap) + 0.01
                pull = 0.001 * b.mass / (square * square ** 0.5)
                a.speed = [s + g * pull for s, g in zip(a.speed, gap)]
        for a in them:
            a.place = [p + 0.001 * s for p, s in zip(a.place, a.speed)]
    return sum(a.place[0] for a in them)


def words(count):
    seen, x = {}, 12345
    for _ in range(count):
        x = (x * 1103515245 + 12345) & 0x7fffffff
        word = f"w{x % 1000:x}"
        seen[word] = seen.get(word, 0) + 1
    return sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:5]


def queens(n, row=0, columns=0, down=0, up=0):
    if row == n:
        return 1
    free, found = ~(columns | down | up) & ((1 << n) - 1), 0
    while free:
        bit = free & -free
        free ^= bit
        found += queens(n, row + 1, columns | bit, (down | bit) << 1, (up | bit) >> 1)
    return found


def text(count):
    rows = [{"id": n, "name": f"row {n}", "values": [n * k for k in range(4)]} for n in range(count)]
    back = json.loads(json.dumps(rows))
    return len(re.findall(r"\d+ (\w+)", " ".join(f"{row['id']} {row['name']}" for row in back)))


print(f"{bodies(400):.12f}", words(40000), queens(7), text(1500))
