"""The runbooks of the documents as HTML, in each language: the text of each kind of case, and its SQL apart."""
import os
import re

from markupsafe import Markup, escape

HERE = os.path.dirname(os.path.abspath(__file__))
# the page of each language, and the heading that its runbooks stand below
PAGES = {"en": (("operations.md",), "Alerts"), "zh": (("zh", "runbooks.md"), "告警")}


def load():
    """{language: {kind: (text, [(what it is for, SQL)])}}"""
    return {language: of_page(path, heading) for language, (path, heading) in PAGES.items()}


def of_page(path, heading):
    """The runbooks of a page, which stands beside the console or in doc/; none where it does not."""
    for place in (os.path.join(HERE, *path), os.path.join(HERE, "..", "doc", *path)):
        if os.path.exists(place):
            with open(place, encoding="utf-8") as file:
                below = re.search(rf"(?ms)^## {heading}$(.*?)(?=^## |\Z)", file.read())
            return {kind: runbook(body) for kind, body in re.findall(r"(?ms)^### (\w+)\n(.*?)(?=^### |\Z)", below[1])}
    return {}


def runbook(body):
    """The paragraphs in front of the first block of SQL, for everybody, and all blocks with what stands before each."""
    parts = re.split(r"(?ms)^```sql\n(.*?)^```\n?", body)
    blocks = [(html(parts[n - 1] if n > 1 else ""), parts[n].strip()) for n in range(1, len(parts), 2)]
    return html(parts[0]), blocks + ([(html(parts[-1]), "")] if len(parts) > 1 and parts[-1].strip() else [])


def html(text):
    """Paragraphs and lists of Markdown; a link is its text."""
    out = []
    # no blank stands between the lines of a Chinese paragraph
    for paragraph in re.split(r"\n\s*\n", re.sub(r"(?<=[\u3000-\uffef])\n(?=[\u3000-\uffef])", "", text.strip())):
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
