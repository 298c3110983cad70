"""The grammar: text in, tree out. One reader for what people type and for what MLflow's clients send."""

from __future__ import annotations

import re

from mlops_tui.core.errors import BadInput
from mlops_tui.store.search.tree import FIGURES, SCOPES, And, Compare, Key, Node, Not, Or, Query, Value, Word, wrong

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[^\W\d][\w./@+-]*")
_FIGURE = re.compile(rf"({'|'.join(FIGURES)})\(\s*", re.IGNORECASE)
_KEY_QUOTED = re.compile(r"`((?:``|[^`])*)`|\"([^\"]*)\"")
_STRING = re.compile(r"'((?:''|\\'|[^'])*)'|\"((?:\"\"|\\\"|[^\"])*)\"")
_SYMBOL = re.compile(r"!=|!~|<>|==|>=|<=|=|<|>|~|:")
_NULL = re.compile(r"is\s+(not\s+)?null\b", re.IGNORECASE)
_VERB = re.compile(r"(not\s+)?(in(?=\s*\()|i?like(?=\s*['\"])|between(?=\s))", re.IGNORECASE)
_COMPARES = re.compile(r"[<>=]")
_SAME = {"<>": "!=", "==": "="}
_LOOKS_AROUND = re.compile(r"\(\?(?:<?[=!]|>|P=|\()|\\[1-9]|[*+?}]\+")
"""What Python's expressions have and the database's, which never take exponential time, do not."""
_LIST = "While parsing a list in the query, "


def parse(text: str, dialect: str = "mlops") -> Query:
    """Read a filter.

    Args:
        text: the filter; empty lets everything through.
        dialect: ``mlops`` takes the short form of people and MLflow's form alike; ``mlflow`` takes MLflow's form, where
            a value is a number or stands in quotes and there are no loose words. Both take AND, OR, NOT, parentheses,
            IN, LIKE, ILIKE, BETWEEN, IS NULL, ``~`` and ``min(metric)``.

    Raises:
        BadInput: it cannot be read; a caret stands under the place.
    """
    return Query(text, dialect, _Reader(text, dialect).whole())


def read_key(text: str, dialect: str) -> tuple[Key | None, int]:
    """Read a key at the beginning of a text; return it with the place after it."""
    reader = _Reader(text, dialect)
    reader.skip()
    key = reader.key()
    return key, reader.at


def typed(key: str) -> str:
    """Return a key as it is typed: in backticks where it would not be read otherwise."""
    return key if _NAME.fullmatch(key) else f"`{key.replace('`', '``')}`"


def as_key(text: str) -> str:
    """Return what a person calls a key as a filter has it: as it is where it is read whole, else in backticks."""
    try:
        key, end = read_key(text, "mlops")
    except BadInput:
        return typed(text)
    return text if key is not None and end == len(text) else typed(text)


class _Reader:
    """Reads from left to right; ``at`` is where it stands."""

    def __init__(self, text: str, dialect: str) -> None:
        self.text, self.dialect = text, dialect
        self.short = dialect == "mlops"
        self.at = 0

    def whole(self) -> Node:
        if not self.text.strip():
            return And(())
        root = self.either()
        if self.at < len(self.text):
            raise self.wrong(self.at, "this ) closes nothing")
        return root

    def either(self) -> Node:
        parts = [self.all()]
        while self.keyword("or"):
            parts.append(self.all())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def all(self) -> Node:
        parts: list[Node] = []
        while True:
            while self.keyword("and"):
                pass
            self.skip()
            if self.at == len(self.text) or self.text[self.at] == ")" or self.sees("or"):
                break
            parts.append(self.one())
        if not parts:
            raise self.wrong(self.at, "a condition is missing here")
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def one(self) -> Node:
        """Read a condition, a word, or something in parentheses."""
        if self.keyword("not"):
            self.skip()
            return Not(self.one())
        following = self.text[self.at + 1 : self.at + 2]
        match self.text[self.at : self.at + 1]:
            case "":
                raise self.wrong(self.at, "a condition is missing here")
            case "-" if self.short and following.strip():
                self.at += 1
                return Not(self.one())
            case "~" if self.short and following.strip():
                self.at += 1
                return Word(self.regex(self.value("~")), regex=True)
            case "(":
                return self.parentheses()
        return self.condition()

    def parentheses(self) -> Node:
        opened = self.at
        self.at += 1
        inside = self.either()
        self.skip()
        if self.at == len(self.text):
            raise self.wrong(opened, "this ( is never closed")
        self.at += 1
        return inside

    def condition(self) -> Node:
        begun = self.at
        key = self.key()
        if key is not None and (found := self.compared(key)) is not None:
            return found
        self.at = begun
        if self.short:
            word = self.value("")
            if not word.quoted and (sign := _COMPARES.search(word.text)):
                name = word.text[: sign.start()]
                why = f"what is compared here is no plain name; in backticks any is: `{name}`" if name else "no name"
                raise self.wrong(begun, why)
            return Word(word, regex=False)
        raise self.wrong(begun, "this is no comparison")

    def key(self) -> Key | None:
        """Read ``name``, ``scope.name``, either in quotes, or ``min(…)`` around it; None when no name stands here."""
        begun = self.at
        function = _FIGURE.match(self.text, self.at)
        if function:
            self.at = function.end()
        raw = self.path()
        if raw is None:
            return None
        if function:
            self.skip()
            if self.text[self.at : self.at + 1] != ")":
                return None
            self.at += 1
        prefix, dot, name = raw.partition(".")
        scope = SCOPES.get(prefix, "") if dot and name else ""
        if dot and not scope and not self.short:
            raise self.wrong(
                begun, f"Invalid entity type {prefix!r}. Valid values are metrics, params, tags, attributes, datasets"
            )
        return Key(scope, name if scope else raw, raw, function[1].lower() if function else "", begun)

    def path(self) -> str | None:
        """Read a name with its dots; its first or last part may be quoted."""
        parts: list[str] = []
        while True:
            quoted = _KEY_QUOTED.match(self.text, self.at)
            found = quoted or _NAME.match(self.text, self.at) if not parts or parts[-1].endswith(".") else None
            if found is None:
                break
            self.at = found.end()
            name = next(one for one in found.groups() if one is not None) if quoted else found[0]
            parts.append(name.replace("``", "`") if quoted and self.short else name)
            if quoted and self.text[self.at : self.at + 1] == ".":
                self.at += 1
                parts[-1] += "."
        return "".join(parts) or None

    def compared(self, key: Key) -> Compare | None:
        """Read operator and values after a key; None when no operator stands here."""
        ended = self.at
        self.skip()
        at, gap = self.at, self.at > ended
        if found := _NULL.match(self.text, at):
            self.at = found.end()
            return Compare(key, "null", (), found[1] is not None, at)
        if found := _VERB.match(self.text, at):
            self.at = found.end()
            verb = found[2].lower()
            return Compare(key, verb, self.operands(verb), found[1] is not None, at)
        if (found := _SYMBOL.match(self.text, at)) is None:
            return None
        symbol = found[0]
        loose = not self.text[found.end() : found.end() + 1].strip()
        if gap and (symbol == ":" or (symbol == "~" and not key.scope and not loose)):
            return None  # `census ~resnet` is a word and a pattern
        if not self.short and (symbol in _SAME or symbol == ":"):
            raise self.wrong(at, f"Invalid comparator {symbol!r}")
        self.at = found.end()
        if symbol in ("~", "!~"):
            return Compare(key, "regex", (self.regex(self.value(symbol)),), symbol == "!~", at)
        values = self.several() if symbol == ":" else (self.value(symbol),)
        return Compare(key, _SAME.get(symbol, symbol), values, False, at)

    def operands(self, verb: str) -> tuple[Value, ...]:
        if verb == "between":
            low = self.value(verb)
            if not self.keyword("and"):
                raise self.wrong(self.at, "BETWEEN wants AND and a second value")
            return low, self.value("and")
        return self.listed() if verb == "in" else (self.value(verb),)

    def listed(self) -> tuple[Value, ...]:
        """Read ``('a', 'b')``."""
        self.skip()
        opened = self.at
        self.at += 1
        values: list[Value] = []
        while True:
            self.skip()
            if self.text[self.at : self.at + 1] == ")":
                self.at += 1
                break
            if self.text[self.at : self.at + 1] == ",":
                raise self.wrong(self.at, _LIST + "expected a non-empty list of string values, but got ill-formed list")
            values.append(self.value("in", commas=True))
            self.skip()
            follows = self.text[self.at : self.at + 1]
            if follows == ",":
                self.at += 1
            elif follows != ")":
                raise self.wrong(self.at if follows else opened, _LIST + "expected , or )")
        if not values:
            raise self.wrong(opened, _LIST + "expected a non-empty list of string values, but got empty list")
        return tuple(values)

    def several(self) -> tuple[Value, ...]:
        """Read ``a,b,c`` after a colon."""
        values = [self.value(":", commas=True)]
        while self.text[self.at : self.at + 1] == ",":
            self.at += 1
            values.append(self.value(":", commas=True))
        return tuple(values)

    def value(self, after: str, commas: bool = False) -> Value:
        """Read a value: in quotes, or what stands up to the next space, comma of a list or closing parenthesis."""
        self.skip()
        at = self.at
        if quoted := _STRING.match(self.text, at):
            self.at = quoted.end()
            mark, inside = quoted[0][0], quoted[0][1:-1]
            # MLflow's clients take what stands between the quotes as it is.
            return Value(inside.replace(mark * 2, mark).replace("\\" + mark, mark) if self.short else inside, True, at)
        depth = 0
        while self.at < len(self.text):
            c = self.text[self.at]
            depth += (c == "(") - (c == ")")
            if c.isspace() or depth < 0 or (commas and c == "," and not depth):
                break
            self.at += 1
        if self.at == at:
            raise self.wrong(at, f"a value is missing after {after!r}" if after else "a condition is missing here")
        if self.text[at] in "'\"":
            raise self.wrong(at, "this quote is never closed")
        if not self.short and self.text[at : self.at].lower() in ("true", "false"):
            raise self.wrong(at, "there is nothing that is true or false")
        return Value(self.text[at : self.at], False, at)

    def regex(self, value: Value) -> Value:
        if found := _LOOKS_AROUND.search(value.text):
            at = value.at + value.quoted + found.start()
            raise self.wrong(at, "patterns look neither around nor back; two conditions do the same")
        try:
            re.compile(value.text)
        except re.error as error:
            at = value.at + value.quoted + (error.pos or 0)
            raise self.wrong(at, f"this is no regular expression: {error.msg}") from None
        return value

    def keyword(self, word: str) -> bool:
        """Step over a word if it is this one."""
        self.skip()
        if not self.sees(word):
            return False
        self.at += len(word)
        return True

    def sees(self, word: str) -> bool:
        end = self.at + len(word)
        return self.text[self.at : end].lower() == word and (
            not (c := self.text[end : end + 1]) or c in " \t\n\r()\"'`~"
        )

    def skip(self) -> None:
        if found := _SPACE.match(self.text, self.at):
            self.at = found.end()

    def wrong(self, at: int, why: str) -> BadInput:
        known = self.short or why.startswith("Invalid")
        return wrong(self.text, at, why if known else f"Invalid clause(s) in filter string: {why}", self.dialect)
