"""Rules for requests after which something has to be done."""

from perron_agent_triage.rule import FREEZE, REFUND, REFUND_DUPLICATE, REPLY, TICKET, rule
from perron_agent_triage.vocabulary import CARD, CASH, FEE, MONEY_ON_ITS_WAY, NOT, PAYMENT, TOP_UP

# A freeze is undone with a tap, a lost card is not: in doubt, "lost" means lost now.
PROBLEMS = (
    rule(
        "card found again",
        REPLY,
        "If you have your card again, unfreeze or link it in the app under Cards.",
        rf"found ~4 (?:{CARD})|(?:{CARD}) ~8 found|if i find|found it|re\W?activate|re\W?link|unfreeze|relinked",
        r"card|it",
        unless=rf"details|info\w*|aware|someone|(?:{NOT}|nowhere) ~3 f[oi]u?nd",
    ),
    rule(
        "card kept by a machine",
        FREEZE + TICKET,
        "A machine that keeps a card does not give it back: we send you a new one.",
        r"card",
        r"""(?:atm|machine|cash ?point|bank) ~6 (?:swallow\w*|ate|eats?|eaten|kept|keeps?|suck\w*|took|stole|
        retain\w*|(?:not|didnt|wont|doesnt) (?:return|give|release|spit))|swallow\w*|(?:stuck|caught|
        jammed) in|get my card (?:back|out)""",
        unless=r"pin",
    ),
    rule(
        "phone lost",
        TICKET,
        "We sign your phone out of the app; sign in on a new one with your passcode.",
        r"phones?|mobile|smartphone|iphone|cell\w*",
        rf"""lost|lose|missing|misplaced|stole|stolen|theft|robbed|mugged|snatched|taken|left|gone|hotel|
        forgot|(?:{NOT}) (?:find|have|locate)|no longer have|without""",
        unless=CARD,
    ),
    rule(
        "card lost or stolen",
        FREEZE,
        "Order a new card in the app under Cards; if you find it, unfreeze it there.",
        rf"{CARD}|everything|mugged|robbed|pickpocket\w*|burgled",
        rf"""lost|misplaced|missing|stole|stolen|stealing|theft|thief|robbed|mugged|snatched|pickpocket\w*|
        burgled|(?:left|dropped) my (?:{CARD})|(?:{CARD}) ~2 (?:gone|disappeared|vanished|fell)|
        (?:cant|cannot|can not|couldnt|not able to|help me|you to) (?:find|locate|retrieve) ~2 (?:{CARD})|
        (?:no idea|dont know) where ~3 card""",
        unless=r"""lost ~3 pin|(?:info\w*|details|numbers?|identity) ~5 stolen|stole ~3 (?:info\w*|details|
        numbers?|money)|money ~6 (?:missing|gone|stolen|disappeared)|missing ~3 (?:money|cash|funds|payment|
        refund)""",
    ),
    rule(
        "unknown direct debit",
        TICKET,
        "We look into the direct debit, and get it back if it was not yours.",
        r"direct debits?",
        rf"""(?:{NOT}) ~6 (?:recogni\w+|remember|mine|made|make|do|did|set|sign\w*|authori\w+|know|familiar|
        agree|initiate|perform|approve|complete|create|allow\w*|cancel\w*)|fraud\w*|strange|unknown|
        unauthori[sz]ed|someone|what is|dispute|unrecogni\w+|no idea|weird""",
    ),
    rule(
        "card used by somebody else",
        FREEZE + TICKET,
        "We dispute what was not you, and tell you what came of it.",
        rf"""(?:someone|somebody|some one|anyone|anybody|one else|person|people|thief|hackers?|they) ~6
        (?:us(?:e|es|ed|ing)|made|copied|copy|cloned?|hacked|accessed|stole\w*|compromised|got|took|taken|
        knows?|access|hold|charged|gained|found|ordered|has|have) ~5 (?:my|mine|it|card|account|withdrawal)|
        by (?:someone|somebody)|hacked|hack|cloned?|skimm\w+|compromised|fraud\w*|scammed|exposed|security breach|
        without my (?:permission|consent|knowledge|approval|authori\w+)|un\w?authori[sz]ed|(?:identity|info\w*|
        details|numbers?|account) ~5 stolen|stole ~3 (?:info\w*|details|numbers?|money)|freez\w+ ~3 (?:{CARD}|
        account)|(?:{CARD}|account) ~3 frozen|(?:block|cut off|disable) (?:my|the) card|never been to""",
        unless=rf"""pin|passcode|give|friends?|verif\w+|unblock|unfreeze|why (?:was|is) my|{TOP_UP}|mistake|
        transfer|receiv\w+|salary""",
    ),
    rule(
        "cash withdrawal that the customer did not make",
        FREEZE + TICKET,
        "We dispute the withdrawal, and tell you what came of it.",
        rf"{CASH}|wd",
        rf"""(?:{NOT}) ~4 (?:recogni\w+|remember\w*|made|make|making|do|done|did|authori\w+|initiate|
        perform\w*|mine|me|my own|aware|approve)|(?:but|though|that|which) (?:i|it) (?:didnt|did not|havent|
        wasnt|was not)\W*|(?:didnt|did not) (?:withdraw|take out|accept)|unrecogni\w+|no idea|
        dont know (?:about|anything)|another (?:city|country|town|place)""",
        r"app|account|statement|history|withdr\w+|there is|theres|shows?|wd",
        unless=r"""pending|declin\w+|exchange|rate|fee|wrong amount|(?:didnt|did not|havent|not) (?:get|
        receive\w*)|deposit\w*|che(?:que|ck)|all|work\w*""",
    ),
    rule(
        "payment that the customer does not recognise",
        TICKET,
        "We look into the payment, and get it back if it was not yours.",
        rf"{PAYMENT}|{CASH}|merchant|name|statement|spent|spending|bought",
        rf"""(?:{NOT}|no) ~4 (?:recogni\w+|remember\w*|mine|authori\w+|initiate\w*|recall|recollection|
        familiar)|(?:i|we|ive) ~2 (?:not|never|didnt|havent|hadnt|dont) ~3 (?:make|made|do|did|done|buy|bought|
        purchase\w*|order\w*|perform\w*|create\w*|complete\w*|spend)|(?:not|wasnt) (?:me|made by me|mine)|
        shouldnt (?:have )?be(?:en)?|no idea (?:what|where|who)|what is (?:this|the)|dont know (?:what|who|
        where)|unrecogni\w+|unknown|unfamiliar|suspicious|questionable|fishy|random|unusual|odd|strange|weird""",
        unless=rf"""{TOP_UP}|transfer\w*|fees?|exchange|rate|deposit\w*|twice|card (?:has )?arriv\w+|refund\w*|
        extra""",
    ),
    rule(
        "refund missing",
        TICKET,
        "We trace the refund, and tell you where it is.",
        r"refund\w*|reimburse\w*|money back|returned (?:item|an item|something|it)",
        rf"""(?:{NOT}) ~6 (?:see\w*|find|show\w*|receiv\w+|arriv\w+|here|there|got\w*|get|appear\w*|post\w*|
        credit\w*|gone|come|came|reflect\w*|process\w*|been|yet|return\w*|back|on|in|submitting)|where(?:s| (?:is|
        are|did))?|missing|still|waiting|yet|when (?:will|is|should|can)|how long|track|status|pending|
        delayed|late|taking""",
        unless=rf"how (?:do|can) i (?:get|request|ask)|twice|{TOP_UP}",
    ),
    rule(
        "charged twice",
        REFUND_DUPLICATE,
        "If another payment looks doubled, tell us its amount.",
        r"""twice|(?:two|2|multiple|many) times|double[ds]?|duplicat\w+|multiple (?:charges|payments|
        transactions)|more than (?:once|one)|repeat\w*|again|(?:two|2|second|several) ~4 (?:charges?|payments?|
        transactions?|debits)|shows? (?:two|2)|both|same ~2 (?:charge|payment|transaction|purchase|thing|item)""",
        PAYMENT,
        unless=rf"""{TOP_UP}|transfer\w*|exchange|withdr\w+|atm|cash|denied|fail\w*|not work\w*|didnt work|try|
        pin|limit|shows? ~3 times|(?:keeps?|always|was|being|be|getting|been) (?:declin\w+|reject\w*) ~3 again""",
    ),
    rule(
        "payment to be stopped",
        TICKET,
        "We try to stop it; money that has been paid out, we can only ask back.",
        r"""cancel|stop|reversed?|revert|undo|recall|retract|call back|take back|typo|accidentally|wrong ~2
        (?:account|person|number|recipient|details|iban)|incorrect account|mistake with|
        (?:made|by) (?:an? )?(?:mistake|error|accident)""",
        r"""transf\w+|transactions?|payments?|sent|send\w*|direct debits?|purchases?|orders?|subscriptions?|
        money|information""",
        unless=rf"{TOP_UP}|withdr\w+|atm|{FEE}|exchange|deposit\w*|did you|why|pending|been (?:cancel|revert)\w*",
    ),
    rule(
        "refund asked for",
        REFUND,
        "",
        r"""(?:want|need|like|please|give|demand\w*|requesting|request|issue|expect|require|deserve|must|
        can you|could you|would you|send) ~8 (?:refund\w*|money back|reimburse\w*)|refund (?:me|my|this|it|the)|
        (?:refund|money back)\W*please""",
        unless=rf"""(?:how|can i|could i|may i|am i able|is it possible|is there|do you|what) ~8 (?:refund\w*|
        money back)|if i|{TOP_UP}|atm|withdr\w+|cash""",
    ),
    rule(
        "how refunds work",
        REPLY,
        "Ask the shop first. If it does not help, write to us which payment it is, and please ask for the refund.",
        r"refund\w*|money back|reimburse\w*|return (?:an? |my |this )?(?:item|purchase|product)|faulty|broken",
        unless=rf"{TOP_UP}|atm|withdr\w+|cash|card",
    ),
    rule(
        "wrong amount of cash",
        TICKET,
        "We compare it with the machine's own count, and pay what is missing.",
        rf"{CASH}|took out|take out|came out|dispensed|asked for|requested",
        rf"""wrong ~2 (?:amount|sum|cash|money)|(?:incorrect|lower|smaller|different) (?:amount|sum)|less|half|
        partial|only ~3 (?:got|get|gave|given|receiv\w*|came|dispens\w*|\S?\d+)|not what i|more than (?:i|
        what)|instead of|(?:{NOT}) ~4 (?:all|full|right|correct|entire|same|match)|short(?:ed|changed)?|(?:got|
        gave me) (?:only|just)|(?:asked|wanted|requested|tried) ~5 \S?\d+\S? ~8 \S?\d+\S?|differ\w*|
        discrepanc\w*""",
        unless=r"rate|fees?|exchange|charged? (?:for|to)",
    ),
    rule(
        "exchange rate disputed",
        TICKET,
        "We check the rate against the day's, and pay back the difference if it was wrong.",
        r"rates?|exchang\w+|conver\w+|currency",
        rf"""wrong\w*|incorrect\w*|(?:{NOT}) ~5 (?:right|correct|accurate|match|good|same|fair|appl\w+|what)|
        bad|terrible|awful|mess\w*|mistake|error|off|unfair|overcharged|too (?:much|high|low)|extra|more than|
        higher|lower|less|different|inaccurate|horrible|ridiculous|poor|check|strange|problem|fix|mislead\w*|
        differ\w*""",
        unless=rf"{TOP_UP}|what is the|discount|different currenc\w+",
    ),
    rule(
        "small charge disputed",
        REFUND,
        "",
        r"""[£$€]\s?\d\S*|\d\S*\s?(?:[£$€]|pounds?|euros?|dollars?)\S*|(?:a|an|one|extra|additional) (?:pound|
        euro|dollar)""",
        r"""extra|additional|unexpected\w*|weird|strange|random|over\W?charged|surcharge|fees?|unexplained|odd|
        more than i""",
        r"statement|account|charged?|overcharged|charges|bill|app|fees?|payment|transaction|card|pay",
        unless=rf"{TOP_UP}|atm|withdr\w+|transfer\w*|pending",
    ),
    rule(
        "card not arrived",
        TICKET,
        "We trace the card, and send another if it is lost.",
        r"cards?",
        rf"""(?:{NOT}|yet|still) ~6 (?:arriv\w*|receiv\w*|come|came|got\w*|get|here|deliver\w*|show\w*|waiting|
        mail)|waiting ~2 (?:for|on)|where(?:s| is) ~2 card|track\w*|lost in the (?:mail|post)|delayed|late|
        status of""",
        unless=r"pin|virtual|disposable|payment|verif\w+|transfer\w*|cash|refund\w*|working|track of",
    ),
    rule(
        "top-up problem",
        TICKET,
        "We look into the top-up; money that does not arrive goes back where it came from.",
        TOP_UP,
        rf"""(?:{NOT}) ~6 (?:work\w*|go\w*|gone|show\w*|see\w*|arriv\w*|process\w*|accept\w*|complet\w*|
        appear\w*|reflect\w*|add\w*|there|here|in|on|top|do|get|been|allow\w*|let|available|received?)|fail\w*|
        revert\w*|declin\w*|reject\w*|return\w*|cancel\w*|denied|pending|disappear\w*|gone|missing|vanish\w*|
        stuck|problem|issues?|error|wrong|where(?:s| is)?|what happened|glitch|still""",
        unless=r"cod(?:e|es)|verif\w+|how do i|limit",
    ),
    rule(
        "identity check problem",
        TICKET,
        "A colleague checks your documents by hand.",
        r"identit\w+|verif\w+|identif\w+|id|prov(?:e|ing)|proof|recogni[sz]e who",
        rf"""{NOT}|trouble|problems?|issues?|fail\w*|error|reject\w*|wrong|struggl\w+|difficult\w*|help me|
        declin\w*|denied""",
        unless=rf"""why (?:do|does|is|are|must|should|would|on)|what|reason|need to|comfortable|want to|
        {TOP_UP}|cod(?:e|es)|card|can i|would i|have to|without""",
    ),
    rule(
        "payment declined",
        TICKET,
        "We look up why it was declined. Often the card is frozen, the balance too low or a limit reached.",
        rf"{PAYMENT}|{CASH}|transf\w+|sent|send\w*|shops?|stores?|card|beneficiary|money|buy\w*",
        rf"""declin\w*|reject\w*|refus\w*|denied|deny\w*|fail\w*|blocked|unsuccessful\w*|trouble|error|problem|
        issue|not (?:allowed|accepted|permitted|possible|approved)|(?:revert|cancel|return|terminat)(?:l?ed|
        ed)|stopped|(?:{NOT}) ~4 (?:go(?:ne|ing)? through|accept\w*|let|allow\w*|pay|transfer\w*|withdraw\w*|
        send|complete\w*|able|access)|(?:go|went|gone|came|come|back) ~4 back|why (?:did|would|has) ~3
        (?:revert|cancel)|(?:transf\w+|payment|withdrawal|transaction) ~2 (?:{NOT}) work\w*|(?:cant|couldnt|
        unable to|cannot|not able to|wont let me) ~3 (?:get|take|use|make)""",
        unless=r"""pin|passcode|contactless|virtual|disposable|apple|google|what happens if|how do you|
        (?:use|access) (?:the|my|your) app|problems? with (?:my )?identi\w+""",
    ),
    rule(
        "money not arrived",
        TICKET,
        "We trace the money, and tell you where it is.",
        rf"{MONEY_ON_ITS_WAY}|recipient|landlord|friends?|family|seller|beneficiar\w+|card has been pending",
        rf"""(?:{NOT}|yet|still) ~8 (?:arriv\w*|receiv\w*|show\w*|gone?|going|there|here|land\w*|got\w*|get|
        come|came|complet\w*|process\w*|pend\w*|reflect\w*|appear\w*|updat\w*|chang\w*|available|clear\w*|
        post\w*|see\w*|through|in|up|waiting|hit|been|find)|where(?:s| is| did| are|d)|missing|disappear\w*|
        vanish\w*|gone|delay\w*|stuck|waiting|pending|late|taking (?:so|too) long|what happened|trace|same|
        in limbo|long (?:already|enough)|less amount""",
        unless=r"""where (?:does|do|can)|what (?:is the|are the) (?:average|normal|usual)|source|pin|passcode|
        how long (?:does|do|will|should|is)|can i|card (?:yet|still)|fees?|where ~3 from""",
    ),
    rule(
        "account to be closed",
        TICKET,
        "Before we close your account we ask you once more, and where the rest of your money is to go.",
        r"account|company|service|relationship|you|app",
        r"""close|closing|terminat\w+|delet\w+|deactivat\w+|shut ~2 down|cancel ~2 account|get rid of|leave|
        remove|disable|(?:end|stop) (?:my|this|the)|no longer want|dont want""",
        unless=r"card|transf\w+|transactions?|closest",
    ),
)
