"""Which payment a refund is for."""

from collections.abc import Sequence

from perron_agent_triage.state import Payment, RefundPlan


def find_duplicate(payments: Sequence[Payment], *, amount_cents: int | None) -> Payment | None:
    """The newest payment that is there twice: the same merchant and amount, the named one if one is named."""
    for n, payment in enumerate(payments):
        if amount_cents not in (None, payment["cents"]):
            continue
        if any(_is_alike(payment, older) for older in payments[n + 1 :]):
            return payment
    return None


def plan_refund(
    payments: Sequence[Payment], *, amount_cents: int | None, only_duplicate: bool, limit_cents: int
) -> RefundPlan | None:
    """Choose payment and amount: the named amount, else the newest payment's.

    A person has to approve what is above the limit, and what is more than was paid.

    Returns:
        None when there is no such payment, and a person has to look for it.
    """
    if only_duplicate:
        payment = find_duplicate(payments, amount_cents=amount_cents)
    else:
        same = (payment for payment in payments if payment["cents"] == amount_cents)
        payment = next(same, None) or next(iter(payments), None)
    if payment is None:
        return None
    cents = amount_cents or payment["cents"]
    return RefundPlan(payment=payment, cents=cents, needs_approval=cents > limit_cents or cents > payment["cents"])


def _is_alike(payment: Payment, other: Payment) -> bool:
    return all(payment[key] == other[key] for key in ("merchant", "cents", "currency"))
