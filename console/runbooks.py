"""The runbooks of doc/operations.md as HTML: the text of each kind of case, which the catalogs have too, and its SQL apart."""
import os
import re

from flask_babel import gettext
from markupsafe import Markup, escape

HERE = os.path.dirname(os.path.abspath(__file__))
PLACES = (os.path.join(HERE, "operations.md"), os.path.join(HERE, "..", "doc", "operations.md"))


def load():
    """{kind: (paragraphs, [(what it is for, SQL)])}, of the sections below "## Alerts"."""
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
    blocks = [(html(paragraphs(parts[n - 1]) if n > 1 else []), parts[n].strip()) for n in range(1, len(parts), 2)]
    last = [(html(paragraphs(parts[-1])), "")] if len(parts) > 1 and parts[-1].strip() else []
    return paragraphs(parts[0]), blocks + last


def paragraphs(text):
    """Each as one line; of a list its items are the lines."""
    return ["\n- ".join(" ".join(item.split()) for item in re.split(r"\n- ", paragraph)) for paragraph in re.split(r"\n\s*\n", text.strip())
            if paragraph]


def about(texts):
    """The paragraphs in the viewer's language."""
    return html([gettext(text) for text in texts])


def html(texts):
    """Paragraphs and lists of Markdown; a link is its text."""
    out = []
    for paragraph in texts:
        if paragraph.startswith("- "):
            out.append("<ul>" + "".join(f"<li>{inline(item)}</li>" for item in paragraph[2:].split("\n- ")) + "</ul>")
        else:
            out.append(f"<p>{inline(paragraph)}</p>")
    return Markup("".join(out))


def inline(text):
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", str(escape(" ".join(text.split()))))
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]*)\*\*", r"<strong>\1</strong>", text)
