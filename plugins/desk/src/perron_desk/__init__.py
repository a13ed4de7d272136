"""Perron integration for a helpdesk API."""

from perron_desk.integration import Desk
from perron_desk.results import Card, Customer, Message, Payment, Refund, Ticket

__all__ = ["Card", "Customer", "Desk", "Message", "Payment", "Refund", "Ticket"]
