"""The small edits that a C file of this project can be given, each of which makes a mutant.

edits(file, text) lists them: conditions, statements, comparisons, locks, refreshes and off-by-ones, within
the bodies of functions. What cannot be noticed by a test is no edit: the text of a message, an Assert, an
elog() for what cannot happen and the condition in front of it, and what gives memory back.
"""
import re
from dataclasses import dataclass

TOKEN = re.compile(r"""
    (?P<space>\s+ | /\*.*?\*/ | //[^\n]* | ^[ \t]*\#(?:[^\n\\]|\\.)*)
  | (?P<string>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*')
  | (?P<name>[A-Za-z_]\w*)
  | (?P<number>\.?\d[\w.]*)
  | (?P<sign>->|\+\+|--|<<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\.\.\.|.)
""", re.X | re.S | re.M)

KINDS = ["condition", "statement", "comparison", "lock", "refresh", "off by one"]

COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}

# What a test could notice of these is the text of a message, or nothing.
TALK = re.compile(r"""(Assert\w*|StaticAssert\w*|elog|err(msg|detail|hint|context)\w*|gettext\w*|ngettext|
    pg_attribute\w*|pfree|list_free\w*|MemoryContextDelete|FreeTupleDesc|bms_free|hash_destroy)$""", re.X)
# A value is wanted behind it, or the block around it would not be one any more.
NEEDED = re.compile(r"(PG_RETURN_\w+|PG_(TRY|CATCH|FINALLY|END_TRY|RE_THROW)|pg_unreachable)$")
REFRESH = re.compile(r"(\w*_refresh\w*|CommandCounterIncrement|AcceptInvalidationMessages|\w*[Ii]nvalidate\w*)$")
LOCK = re.compile(r"((\w+_)?lock(_\w+)?|(LW)?Lock[A-Z]\w+|XactLock\w+)$")
WEAKER = {"ROW_LOCK": "ROW_READ", "ROW_LOCK_FREE": "ROW_LOCK", "LockTupleNoKeyExclusive": "LockTupleKeyShare",
          "LockTupleExclusive": "LockTupleKeyShare"} | dict.fromkeys(
              ["RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
               "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"], "AccessShareLock")
OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}
ASSIGN = {"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="}


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    begin: int
    end: int
    line: int


@dataclass(frozen=True)
class Edit:
    kind: str       # of KINDS
    what: str       # for people
    file: str
    function: str
    begin: int      # of the text that is replaced
    end: int
    new: str
    lines: tuple    # first and last line of the statement or condition that it is in

    def apply(self, text):
        return text[:self.begin] + self.new + text[self.end:]


def tokens(text):
    line, found = 1, []
    for match in TOKEN.finditer(text):
        if match.lastgroup != "space":
            found.append(Token(match.lastgroup, match.group(), match.start(), match.end(), line))
        line += match.group().count("\n")
    return found


def edits(file, text):
    """All edits of a file, in the order of their places."""
    found = tokens(text)
    made, start, i = [], 0, 0
    while i < len(found):
        word = found[i].text
        if word == "{":
            end = closing(found, i)
            if i and found[i - 1].text == ")":
                made += Function(file, text, found, start, i, end).edits()
            i = end
        if word in (";", "{"):
            start = i + 1
        i += 1
    return made


def closing(found, i):
    """The place of the bracket that closes the one at i."""
    depth = 0
    while True:
        if found[i].text in OPEN:
            depth += 1
        elif found[i].text in CLOSE:
            depth -= 1
        if depth == 0:
            return i
        i += 1


class Function:
    """One function: its statements are walked through, and each condition and simple statement looked at."""

    def __init__(self, file, text, found, start, begin, end):
        self.file, self.text, self.found, self.begin, self.end = file, text, found, begin, end
        head = next(i for i in range(start, begin) if found[i].text == "(") - 1
        self.name = found[head].text
        self.boolean = "bool" in [t.text for t in found[start:head]]
        self.made = []

    def edits(self):
        i = self.begin + 1
        while i < self.end:
            i = self.statement(i)
        return self.made

    def word(self, i):
        return self.found[i].text

    def add(self, kind, what, first, last, new, span):
        """Replaces the tokens first to last; span: those of the statement around them."""
        self.made.append(Edit(kind, what, self.file, self.name, self.found[first].begin, self.found[last].end, new,
                              (self.found[span[0]].line, self.found[span[1]].line)))

    def source(self, first, last):
        return self.text[self.found[first].begin:self.found[last].end]

    def statement(self, i):
        """Looks at the statement at i; the place behind it."""
        word = self.word(i)
        if word == "{":
            end = closing(self.found, i)
            i += 1
            while i < end:
                i = self.statement(i)
            return end + 1
        if word in ("if", "while", "switch", "for"):
            return self.header(i)
        if word in ("else", "do"):
            return self.statement(i + 1)
        if word in ("case", "default"):
            while self.word(i) != ":":
                i += 1
            return i + 1
        if self.found[i].kind == "name" and self.word(i + 1) == "(":
            end = closing(self.found, i + 1)
            # foreach (...) and what is like it, PG_TRY()
            if self.found[end + 1].kind == "name" or self.word(end + 1) == "{":
                self.expression(i + 1, end, (i, end))
                return end + 1
        end = i
        while self.word(end) != ";":
            end = (closing(self.found, end) if self.word(end) in OPEN else end) + 1
        self.simple(i, end)
        return end + 1

    def header(self, i):
        """if (...) and its like."""
        word, end = self.word(i), closing(self.found, i + 1)
        if word == "if" and self.word(end + 1) == "elog":
            return end + 1
        if word in ("if", "while"):
            inner = self.source(i + 1, end)
            self.add("condition", "negated", i + 1, end, f"(!{inner})", (i, end))
            self.add("condition", "made false", i + 1, end, f"({inner} && false)", (i, end))
            if word == "if":
                self.add("condition", "made true", i + 1, end, f"({inner} || true)", (i, end))
        self.expression(i + 1, end, (i, end))
        return end + 1

    def simple(self, i, end):
        """A statement that ends with a semicolon; return x; too."""
        first, span = self.word(i), (i, end)
        if i == end or first in ("static", "goto") or TALK.match(first):
            return
        if first == "return":
            if self.boolean and end - i > 2:
                self.add("condition", "negated", i + 1, end - 1, f"!({self.source(i + 1, end - 1)})", span)
        elif self.can_drop(i, end):
            kind = "statement"
            if self.word(i + 1) == "(":
                kind = "refresh" if REFRESH.match(first) else "lock" if LOCK.match(first) else kind
            self.add(kind, "dropped", i, end, ";", span)
        self.expression(i, end, span)

    def can_drop(self, i, end):
        first, second = self.word(i), self.word(i + 1)
        if first in ("break", "continue"):
            return True
        if NEEDED.match(first) or first == "(" and self.word(i + 1) == "void" and end - i == 4:
            return False
        if first in ("*", "++", "--", "("):
            return True
        return self.found[i].kind == "name" and (second in ("(", "->", ".", "[", "++", "--") or second in ASSIGN)

    def expression(self, first, last, span):
        """Looks at the operators, names and numbers between first and last."""
        i = first
        while i <= last:
            token, word = self.found[i], self.word(i)
            if token.kind == "name" and self.word(i + 1) == "(" and (TALK.match(word) or word == "ereport"):
                i = closing(self.found, i + 1)
            elif word in COMPARISONS:
                self.add("comparison", f"{word} made {COMPARISONS[word]}", i, i, COMPARISONS[word], span)
            elif word in ("&&", "||"):
                self.both(i, span)
            elif word == "?":
                self.ternary(i, span)
            elif word in ("true", "false"):
                other = "false" if word == "true" else "true"
                self.add("condition", f"{word} made {other}", i, i, other, span)
            elif token.kind == "number":
                self.number(i, span)
            elif token.kind == "name":
                self.name_at(i, span)
            i += 1

    def both(self, i, span):
        """a && b: each side does not matter, though it is looked at; or the operator is the other one."""
        word = self.word(i)
        nothing, other = ("true", "||") if word == "&&" else ("false", "&&")
        stops = {"&&", "||", ",", ";", "?", ":", "return"} | ASSIGN
        for begin, end in ((self.reach(i, -1, stops), i - 1), (i + 1, self.reach(i, 1, stops))):
            self.add("condition", f"a side of {word} made {nothing}", begin, end,
                     f"(({self.source(begin, end)}) {other} {nothing})", span)
        self.add("condition", f"{word} made {other}", i, i, other, span)

    def ternary(self, i, span):
        begin = self.reach(i, -1, {",", ";", "?", ":", "return"} | ASSIGN)
        self.add("condition", "of ?: negated", begin, i - 1, f"!({self.source(begin, i - 1)})", span)

    def reach(self, i, step, stops):
        """The last token, in the direction of step, before one of stops or the bracket around."""
        near, far = (CLOSE, set(OPEN)) if step < 0 else (set(OPEN), CLOSE)
        depth = 0
        while True:
            i += step
            word = self.word(i)
            if depth == 0 and (word in far or word in stops):
                return i - step
            depth += (word in near) - (word in far)

    def number(self, i, span):
        word, before = self.word(i), self.word(i - 1)
        if not re.fullmatch(r"\d+", word) or before == "{":
            return
        for new in ([1] if word == "0" else [int(word) - 1, int(word) + 1]):
            self.add("off by one", f"{word} made {new}", i, i, str(new), span)

    def name_at(self, i, span):
        word = self.word(i)
        if word in WEAKER:
            self.add("lock", f"{word} made {WEAKER[word]}", i, i, WEAKER[word], span)
        elif self.word(i + 1) == "(" and re.search(r"_lock(_|$)", word):
            # where there is such a function
            new = re.sub(r"_lock(_found|_free)?$", "_find", word)
            if new != word:
                self.add("lock", f"{word}() made {new}()", i, i, new, span)


def same_line_diff(edit, text):
    """The lines that an edit changes, as a diff shows them."""
    begin = text.rfind("\n", 0, edit.begin) + 1
    end = text.find("\n", edit.end)
    old = text[begin:end]
    new = text[begin:edit.begin] + edit.new + text[edit.end:end]
    return [f"-{line}" for line in old.split("\n")] + [f"+{line}" for line in new.split("\n")]
