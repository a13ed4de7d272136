"""A rule: which words mean which topic."""

import re
from dataclasses import dataclass

from perron_agent_triage.decision import Action

FREEZE: tuple[Action, ...] = ("freeze_card",)
REFUND: tuple[Action, ...] = ("refund",)
REFUND_DUPLICATE: tuple[Action, ...] = ("refund_duplicate",)
REPLY: tuple[Action, ...] = ()
TICKET: tuple[Action, ...] = ("open_ticket",)

_LONGEST_CHARS = 5_000
_APOSTROPHES = re.compile("['\u2018\u2019\u00b4`]")


@dataclass(frozen=True, slots=True)
class Rule:
    """Fits a text in which each of the patterns is found, and `unless` is not."""

    topic: str
    plan: tuple[Action, ...]
    answer: str
    patterns: tuple[re.Pattern[str], ...]
    unless: re.Pattern[str] | None

    def fits(self, words: str) -> bool:
        """Tell whether the rule speaks about this text; `words` comes from `words_of`."""
        if self.unless and self.unless.search(words):
            return False
        return all(pattern.search(words) for pattern in self.patterns)


def rule(topic: str, plan: tuple[Action, ...], answer: str, *patterns: str, unless: str | None = None) -> Rule:
    """Make a rule of patterns that are written for reading.

    A pattern is a regular expression that begins and ends between words of what `words_of` returns. `~4 ` in it
    stands for up to four words in between (bounded: a hostile text costs linear time); line breaks do not count.
    """
    return Rule(
        topic=topic,
        plan=plan,
        answer=answer,
        patterns=tuple(_compile(pattern) for pattern in patterns),
        unless=_compile(unless) if unless else None,
    )


def words_of(text: str) -> str:
    """The text as rules see it: lower case, single spaces, no apostrophes, at most its first 5,000 characters."""
    return _APOSTROPHES.sub("", " ".join(text[:_LONGEST_CHARS].lower().split()))


def _compile(pattern: str) -> re.Pattern[str]:
    with_gaps = re.sub(r"~(\d)\s+", r"(?:\\S+ ){0,\1}", pattern)
    in_one_line = re.sub(r"\n\s*", "", with_gaps)
    return re.compile(rf"(?<!\w)(?:{in_one_line})(?!\w)")
