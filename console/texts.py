#!/usr/bin/python3
"""Which texts the catalogs need: those of the pages, and the sentences of the database. Run, it adds what a catalog
lacks, without a translation, and takes out what nobody uses."""
import glob
import os
import re

from babel.messages import extract, pofile

import words

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "..", "src")
# functions whose first argument is shown
SHOWN = {"gettext": None, "Refused": None, "SignInFailed": None, "wrong": None}


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def of_pages():
    """Texts of the templates and of the programs."""
    found = set(words.WORDS.values())
    for name in glob.glob(os.path.join(HERE, "*.py")):
        with open(name, "rb") as file:
            # of several arguments the first
            arguments = [text for _, _, text, _ in extract.extract_python(file, SHOWN, (), {})]
        found |= {text[0] if isinstance(text, tuple) else text for text in arguments} - {None}
    for name in glob.glob(os.path.join(HERE, "templates", "*.html")):
        with open(name, "rb") as file:
            found |= {text for _, text, _, _ in extract.extract("jinja2.ext:babel_extract", file, {"_": None})}
    return found


def of_database():
    """Sentences of cases, and what order_status() says, sentence by sentence."""
    functions = re.findall(r"(?ms)^CREATE FUNCTION payguard\.case_(?:story|actions)\(.*?^\$\$;", read(SOURCE, "sql", "79_case.sql"))
    literals = re.findall(r"'((?:[^']|'')*)'", re.sub(r"(?m)--.*$", "", "".join(functions)))
    found = {text.replace("''", "'") for text in literals if re.search(r"[a-z.}] |[}.?]$", text.strip()) and " " in text.strip()
             and not text.startswith('{"')}
    code = read(SOURCE, "requests", "order_status.c")
    for text in re.findall(r'"((?:[^"\\]|\\.)*)"', re.sub(r'"\s*\n\s*"', "", code)):
        if re.search(r"[a-z] [a-z].*\.$", text):
            found |= set(re.split(r"(?<=\.) ", text.replace("%s ", "").strip()))
    return found


def main():
    wanted = of_pages() | of_database()
    for path in glob.glob(os.path.join(HERE, "translations", "*", "LC_MESSAGES", "messages.po")):
        with open(path, "rb") as file:
            catalog = pofile.read_po(file, locale=path.split(os.sep)[-3])
        for message in [message.id for message in catalog if message.id and message.id not in wanted]:
            catalog.delete(message)
        for text in sorted(wanted):
            if text not in catalog:
                catalog.add(text, "")
        catalog.project, catalog.version, catalog.last_translator, catalog.language_team = "payguard", "1", "", ""
        catalog.msgid_bugs_address = ""
        with open(path, "wb") as file:
            pofile.write_po(file, catalog, sort_output=True, no_location=True, width=120)
        print(path, sum(not message.string for message in catalog if message.id), "texts without a translation")


if __name__ == "__main__":
    main()
