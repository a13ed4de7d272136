"""Alternatives of words that several rules share."""

CARD = r"cards?|wallet|purse|handbag"
CASH = r"atms?|cash\w*|withdr\w+|witdraw\w*|(?:money )?machines?"
FEE = r"fees?|charges?|chargg?ed|charging|costs?|free|pay(?:ing)? (?:extra|for)|surcharge|price|how much|expensive"
MONEY_ON_ITS_WAY = r"""transf\w+|sent|send\w*|wired?|deposit\w*|che(?:que|ck)s?|money|funds|balance|salary|
    top\W?(?:ped|ping)?\W?ups?|payments?|refunds?|transactions?|cash|withdr\w+"""
NOT = r"not|never|cant|cannot|couldnt|didnt|doesnt|dont|hasnt|havent|hadnt|isnt|wasnt|arent|wont|unable"
PAYMENT = r"""payments?|charges?|chargg?ed|transactions?|debits?|debited|purchases?|withdrawals?|bill(?:ed|ing)?|
    paid|pay"""
TOP_UP = r"""top\w*\W?(?:up|ups|off)|topup\w*|topped|add(?:ing|ed)? (?:money|funds|cash)|money i added|
    (?:load|fund)(?:ing)? my"""
