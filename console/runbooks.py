"""The runbooks of doc/operations.md as HTML: the text of each kind of case, its SQL apart."""
import os
import re

from markupsafe import Markup, escape

HERE = os.path.dirname(os.path.abspath(__file__))
PLACES = (os.path.join(HERE, "operations.md"), os.path.join(HERE, "..", "doc", "operations.md"))


def load():
    """{kind: (text, [(what it is for, SQL)])}, of the sections below "## Alerts"."""
    for place in PLACES:
        if os.path.exists(place):
            with open(place, encoding="utf-8") as file:
                text = file.read()
            break
    else:
        return {}
    alerts = re.search(r"(?ms)^## Alerts$(.*?)(?=^## |\Z)", text).group(1)
    return {kind: runbook(body) for kind, body in re.findall(r"(?ms)^### (\w+)\n(.*?)(?=^### |\Z)", alerts)}


def runbook(body):
    """The paragraphs in front of the first block of SQL, for everybody, and all blocks with what stands before each."""
    parts = re.split(r"(?ms)^```sql\n(.*?)^```\n?", body)
    blocks = [(html(parts[n - 1] if n > 1 else ""), parts[n].strip()) for n in range(1, len(parts), 2)]
    return html(parts[0]), blocks + ([(html(parts[-1]), "")] if len(parts) > 1 and parts[-1].strip() else [])


def html(text):
    """Paragraphs and lists of Markdown; a link is its text."""
    out = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.startswith("- "):
            items = re.split(r"\n- ", paragraph[2:])
            out.append("<ul>" + "".join(f"<li>{inline(item)}</li>" for item in items) + "</ul>")
        elif paragraph:
            out.append(f"<p>{inline(paragraph)}</p>")
    return Markup("".join(out))


def inline(text):
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", str(escape(" ".join(text.split()))))
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]*)\*\*", r"<strong>\1</strong>", text)
