"""Who somebody is to this studio: cookies that only it can have given, callers who have none, and whose address counts.

A cookie carries a random number and its HMAC under the studio's secret, so nobody can make one up, nor one that names
another's. Whoever calls without one owns just that call; what they share with their address is a turn in the queue,
never a name. Knows nothing about Gradio.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from studio.private_files import kept_secret

CALLER = "api-"
ANONYMOUS = "session-"
"""How the names of those begin who keep no cookie; no signed cookie begins so."""
EARLIER = "earlier."
"""A cookie for who had one before cookies were signed."""
UNSIGNED = re.compile(r"(?!api-|session-)[A-Za-z0-9_-]{32}")
"""A cookie as it was before they were signed."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Identities:
    """Gives and checks cookies. `proxies` are the networks whose word about a caller's address counts."""

    def __init__(self, folder: Path, proxies: Sequence[Network] = ()) -> None:
        self._secret = kept_secret(folder)
        self._proxies = tuple(proxies)

    def new_cookie(self) -> str:
        """A cookie for somebody new."""
        return self._signed(secrets.token_urlsafe(24))

    def cookie_for_earlier(self, unsigned: str, is_known: Callable[[str], bool]) -> str | None:
        """The signed cookie for who shows one from before they were signed, if `is_known` has jobs or files of it."""
        if not UNSIGNED.fullmatch(unsigned) or not is_known(unsigned):
            return None
        return self._signed(EARLIER + unsigned)

    def visitor_of(self, cookie: str) -> str:
        """The visitor whose cookie this is, or nothing where it was not given here."""
        said, _, _ = cookie.rpartition(".")
        if not said or not hmac.compare_digest(cookie.encode(), self._signed(said).encode()):
            return ""
        return said.removeprefix(EARLIER) if said.startswith(EARLIER) else cookie

    def caller(self, address: str) -> str:
        """The name of one call from `address`: of this call alone, and its turn is the address's."""
        return f"{CALLER}{self._digest(f'address {address}')[:24]}.{secrets.token_urlsafe(16)}"

    def address_of(self, peer: str, forwarded: str) -> str:
        """Where a request comes from: the connection, or what the nearest proxy that was named says before it.

        `forwarded` is the X-Forwarded-For header: every proxy adds whom it heard from at its end.
        """
        address = peer
        for before in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
            if not self._is_proxy(address):
                break
            address = before
        return address

    def stamp(self, words: str) -> str:
        """`words` with a signature, for the studio's own requests to itself."""
        return self._signed(words)

    def stamped(self, stamp: str) -> str | None:
        """The words of a `stamp`, or None where it is none."""
        words, _, _ = stamp.rpartition(".")
        return words if words and hmac.compare_digest(stamp.encode(), self._signed(words).encode()) else None

    def _is_proxy(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(mapped in network for network in self._proxies)

    def _signed(self, words: str) -> str:
        return f"{words}.{self._digest(words)}"

    def _digest(self, words: str) -> str:
        return hmac.new(self._secret, words.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def turn_of(owner: str) -> str:
    """What takes turns in the queue, and has a limit: an owner, or the address of callers without a cookie."""
    name, mark, call = owner.partition(f":{CALLER}")
    return name + mark + call.partition(".")[0] if mark else owner
