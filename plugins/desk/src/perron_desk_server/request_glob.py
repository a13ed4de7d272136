"""Globs over `METHOD /path`: whether one can fit any request of a route."""

import re
from fnmatch import fnmatchcase

_PART = re.compile(r"\[!?+\]?+[^\]]*\]|.", re.DOTALL)
_PARAMETER = re.compile(r"\{\w+\}")
_ANY = "\0"


def can_fit(glob: str, route: str) -> bool:
    """Say whether there is a request that both a glob and a route such as `PUT /cards/{card_id}/freeze` fit.

    All places in the route that the glob can have come to are followed at once. `*` crosses slashes; a parameter
    of the route is one or more characters without one.
    """
    steps = _PARAMETER.sub(_ANY, route)
    places = {0}
    for part in _PART.findall(glob):
        if part == "*":
            places = set(range(min(places), len(steps) + 1))
            continue
        left = {place for place in places if place < len(steps) and _takes(steps[place], part)}
        places = {place + 1 for place in left} | {place for place in left if steps[place] == _ANY}
        if not places:
            return False
    return len(steps) in places


def _takes(step: str, part: str) -> bool:
    return part != "/" if step == _ANY else fnmatchcase(step, part)
