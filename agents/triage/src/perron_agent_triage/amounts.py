"""Amounts of money in a customer's words."""

import re

_NUMBER = r"(?P<{name}>\d{{1,3}}(?:,\d{{3}})+(?:\.\d{{1,2}})?|\d{{1,8}}(?:[.,]\d{{1,2}})?)(?![\d.,]*\d)"
_AMOUNT = re.compile(
    rf"[£$€]\s?{_NUMBER.format(name='after_sign')}"
    rf"|(?<![\d.,]){_NUMBER.format(name='before_sign')}\s?(?:[£$€]|(?:pounds?|quid|euros?|dollars?|bucks|gbp|eur|usd)\b)",
    re.IGNORECASE,
)
_ONE = re.compile(r"\b(?:one|an?|extra|additional) (?:pound|euro|dollar)\b", re.IGNORECASE)


def find_amount(text: str) -> int | None:
    """The first amount of money, in hundredths; None when there is none.

    The currency is not looked at: a refund is made in the currency of its payment,
    and people type the sign that their keyboard has.
    """
    if not (found := _AMOUNT.search(text)):
        return 100 if _ONE.search(text) else None
    number = found["after_sign"] or found["before_sign"]
    if re.search(r",\d{1,2}$", number):
        number = number.replace(",", ".")
    whole, _, hundredths = number.replace(",", "").partition(".")
    return int(whole) * 100 + int(hundredths.ljust(2, "0"))
