"""Rules for plain questions, which a message answers."""

from perron_agent_triage.rule import REPLY, rule
from perron_agent_triage.vocabulary import FEE, MONEY_ON_ITS_WAY, NOT, TOP_UP

QUESTIONS = (
    rule(
        "PIN blocked",
        REPLY,
        "Unblock your PIN in the app under Cards, or at a cash machine under PIN services.",
        r"pin\w*|attempts|tries|too many times|account|password|card",
        r"block\w*|unblock\w*|unlock\w*|locked|(?:too many|wrong|incorrect\w*) ~4 (?:times|attempts|tries|pins?)",
    ),
    rule(
        "PIN",
        REPLY,
        "You see your PIN in the app under Cards; change it there or at a cash machine with PIN services.",
        r"pins?",
    ),
    rule(
        "passcode",
        REPLY,
        "Choose Forgot passcode on the app's first page, and we send you a link.",
        r"""pass\W?codes?|passwords?|pass|app code|log\W?in|(?:access|enter|get into|get to|into) ~2 app|
        access code""",
    ),
    rule(
        "verification code of a top-up",
        REPLY,
        "The code is on your own bank's statement, beside the first top-up: enter it in the app under Top up.",
        r"verif\w+|authenticat\w+|cod(?:e|es)",
        rf"{TOP_UP}|cod(?:e|es)|card",
        unless=r"identi\w+|passcode",
    ),
    rule(
        "where money came from",
        REPLY,
        "Each payment in the app shows who sent it; we ask for the source where the law says so.",
        r"""sources?|where ~4 (?:came|comes|coming|come|funds|money)(?: from| are| is)?|verif\w+ ~3 (?:funds|
        money)|who sent""",
        r"money|funds?|cash|source|deposit\w*|balance|it",
        unless=r"atms?|exchange|withdraw\w*|rates?",
    ),
    rule(
        "identity check",
        REPLY,
        "The law asks us to know our customers: a photo of a passport or identity card in the app is enough.",
        r"""identit\w+|verif\w+|identif\w+|ids?|documents?|personal ~1 (?:info\w*|data|details)|
        details about me|proof""",
        unless=rf"edit|change|update|new|{TOP_UP}",
    ),
    rule(
        "personal details",
        REPLY,
        "Change name, address and number in the app under Profile; we may ask for a document.",
        r"""(?:chang\w*|edit\w*|updat\w*|modif\w*|correct\w*|new|different|alter) ~6 (?:names?|address\w*|
        details?|number|info\w*|email|phone|profile|personal|married|data)|(?:name|address|details?|
        info\w*) ~6 (?:chang\w*|edit\w*|updat\w*)|moved|moving|not living|married|wedding|divorced?|
        (?:spouse|husband|wife)\w*""",
    ),
    rule(
        "age",
        REPLY,
        "You can have an account from 18 on; for children from 7 there is one that a parent opens.",
        r"age|old|years?|child\w*|kids?|sons?|daughters?|minors?|teen\w*|young\w*|under 18|adults?|niece|nephew",
        unless=r"card|transf\w+",
    ),
    rule(
        "Apple Pay and Google Pay",
        REPLY,
        "Add your card in the phone's wallet; top-ups with it are in the app under Top up.",
        r"apple\w*|google\w*|iphone|samsung|watch|android",
    ),
    rule(
        "virtual card",
        REPLY,
        "Virtual and disposable cards are in the app under Cards; a disposable one is good for one payment.",
        r"virtual\w*|disposable\w*|one\W?time (?:use )?cards?",
    ),
    rule(
        "contactless",
        REPLY,
        "Pay once with your PIN, then contactless works; its switch is in the app under Cards.",
        r"contactless|contact less|tap|nfc",
    ),
    rule(
        "card expiring",
        REPLY,
        "A new card comes by itself a month before the old one expires; yours works until then.",
        r"expir\w+|china|replac\w+|run out|end date|outdated",
    ),
    rule(
        "auto top-up",
        REPLY,
        "Auto top-up is in the app under Top up: choose a balance and an amount.",
        r"auto\w*|interval\w*|low balance",
        rf"{TOP_UP}|interval\w*|add|balance|low|top",
    ),
    rule(
        "cash machines",
        REPLY,
        "The map in the app shows machines near you; every one with the card's logo takes it.",
        r"atms?|cash\W?(?:machines?|points?)|(?:withdraw|take out|get) ~3 (?:money|cash|currenc\w+)",
        unless=FEE,
    ),
    rule(
        "card acceptance",
        REPLY,
        "The card works wherever its logo is shown, in shops and online, also abroad.",
        r"""(?:where|places?|business\w*|shops?|stores?|merchants?|retailers?|anywhere|locations?|restaurants?|
        everywhere|internationally) ~8 (?:accept\w*|use[ds]?|take\w*|pay|card|work\w*|shop)|(?:accept\w*|
        use[ds]?|take\w*|using|work\w*) ~8 (?:where|places?|business\w*|shops?|stores?|merchants?|anywhere|
        abroad|limits?)|matter which card""",
        r"cards?",
        unless=rf"{TOP_UP}|order|transf\w+",
    ),
    rule(
        "countries",
        REPLY,
        "We serve customers in the European Economic Area and the United Kingdom; the card works everywhere.",
        r"""countr\w+|europe\w*|eu|uk|us|usa|america|united|portugal|france|germany|spain|abroad|overseas|
        outside|residen\w+|live|born|states|world\w*|operate|locations?|areas?|international\w*|support""",
        unless=rf"{TOP_UP}|transf\w+|{FEE}|exchang\w+|how long|days|deliver\w*|currenc\w+",
    ),
    rule(
        "exchange",
        REPLY,
        "Exchange money in the app under Exchange: the rate is the market's, and you see the fee before.",
        r"exchang\w*|rates?|conver\w+|discount\w*|foreign money|currenc\w+|aud|gbp|fiat|swap|multi\w*",
    ),
    rule(
        "fees",
        REPLY,
        "All fees are in the app under Prices. Cards and transfers in your own currency are free.",
        FEE,
    ),
    rule(
        "limits",
        REPLY,
        "Your limits are in the app under Limits, and most can be raised there.",
        r"limits?|maximum|most|max|how (?:much|many)|cap|restrict\w*|serious amount|unlimited",
    ),
    rule(
        "adding money",
        REPLY,
        "Add money in the app under Top up: by card, by transfer, or cash and cheques at our partners.",
        rf"""{TOP_UP}|op up|che(?:que|ck)s?|deposit\w*|put ~3 (?:money|cash)|(?:transf\w+|move|send|pay) ~8
        (?:in|into|to my|onto|from)|(?:credit|debit) cards?|cash|swift|sepa|american express""",
    ),
    rule(
        "transfer timing",
        REPLY,
        "Transfers inside the country take minutes, in Europe one working day, elsewhere up to five.",
        r"how (?:long|fast|soon|quick\w*|many days)|when|time\w*|duration|days|take|wait\w*|urgent\w*|quick\w*",
        rf"{MONEY_ON_ITS_WAY}|it",
        unless=r"cards?|deliver\w*",
    ),
    rule(
        "receiving money",
        REPLY,
        "Give the account details from the app under Account to whoever pays you; other currencies are exchanged.",
        r"receiv\w*|salary|wages?|paid|paycheck|employer|friends?|account (?:details|number)",
        unless=r"cards?",
    ),
    rule(
        "Visa and Mastercard",
        REPLY,
        "We issue both; choose when you order the card.",
        r"visas?|master\W?cards?|brand|card types?",
    ),
    rule(
        "activating a card",
        REPLY,
        "Activate or link your card in the app under Cards, with the number on its front.",
        r"""activat\w+|link\w*|connect\w*|get ~3 to work|(?:add|see|view|put|set) ~5 card|in the app|
        start using|where to start|arrived""",
        r"cards?|it",
    ),
    rule(
        "card not working",
        REPLY,
        "Check in the app that the card is activated, not frozen and in date; clean the chip, pay with the PIN.",
        r"cards?|bank|app",
        rf"""(?:{NOT}|stopped|no longer) ~4 work\w*|broken|damaged|(?:{NOT}) ~2 use|faulty|malfunction\w*|
        non\W?functional|no longer|problem|wrong with|working""",
    ),
    rule(
        "getting a card",
        REPLY,
        "Order cards in the app under Cards, spare ones too: they come in five working days, express in two.",
        r"cards?|deliver\w*",
        r"""order\w*|get|getting|send\w*|sent|have|want|need|obtain|another|second|spare|extra|more|new|
        physical|real|apply|deliver\w*|when|how long|days|issue|arriv\w*|receive|mail|how (?:do|can|to)|
        possible|available""",
    ),
)
