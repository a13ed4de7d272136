from perron_agent_triage.payments import find_duplicate, plan_refund
from perron_agent_triage.state import Payment

LIMIT_CENTS = 5_000


def paid(number: int, cents: int, merchant: str = "Kino 5") -> Payment:
    return Payment(id=f"pay-{number}", cents=cents, currency="EUR", merchant=merchant)


def test_a_duplicate_has_the_same_merchant_and_amount() -> None:
    payments = [paid(1, 900), paid(2, 1_250), paid(3, 1_250, "Blue Cab"), paid(4, 1_250)]

    assert find_duplicate(payments, amount_cents=None) == payments[1]
    assert find_duplicate(payments, amount_cents=900) is None


def test_without_an_amount_the_newest_payment_is_refunded() -> None:
    refund = plan_refund(
        [paid(1, 900), paid(2, 1_250)], amount_cents=None, only_duplicate=False, limit_cents=LIMIT_CENTS
    )

    assert refund == {"payment": paid(1, 900), "cents": 900, "needs_approval": False}


def test_a_named_amount_finds_its_payment() -> None:
    refund = plan_refund(
        [paid(1, 900), paid(2, 1_250)], amount_cents=1_250, only_duplicate=False, limit_cents=LIMIT_CENTS
    )

    assert refund == {"payment": paid(2, 1_250), "cents": 1_250, "needs_approval": False}


def test_the_limit_itself_needs_no_approval_and_a_cent_more_does() -> None:
    needs = [
        plan["needs_approval"]
        for cents in (LIMIT_CENTS, LIMIT_CENTS + 1)
        if (
            plan := plan_refund([paid(1, cents)], amount_cents=None, only_duplicate=False, limit_cents=LIMIT_CENTS)
        )
    ]

    assert needs == [False, True]


def test_more_than_was_paid_needs_approval_below_the_limit_too() -> None:
    refund = plan_refund([paid(1, 900)], amount_cents=901, only_duplicate=False, limit_cents=LIMIT_CENTS)

    assert refund is not None
    assert refund["needs_approval"]


def test_nothing_is_planned_where_there_is_no_payment_or_no_duplicate() -> None:
    assert plan_refund([], amount_cents=100, only_duplicate=False, limit_cents=LIMIT_CENTS) is None
    assert plan_refund([paid(1, 900)], amount_cents=None, only_duplicate=True, limit_cents=LIMIT_CENTS) is None
