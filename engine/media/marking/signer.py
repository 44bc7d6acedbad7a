"""Who signs: a chain of two certificates made on first use, or the owner's own; nothing leaves the machine.

The chain meets the C2PA certificate profile (Technical Specification 2.2, section 14.5): version 3, P-256, not
self-signed, key usage digitalSignature, an extended key usage. Nobody else trusts it: a reader says "Valid", and that
the signer is unknown.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock
from platformdirs import user_data_path

from engine.contract.errors import UserError

MARKING, CHAIN, KEY, FOLDER = (
    f"ECHOMIMIC_{name}" for name in ("MARKING", "SIGNING_CHAIN", "SIGNING_KEY", "SIGNING_FOLDER")
)
"""Environment variables: `off` to mark nothing; the owner's PEM chain, leaf first; its P-256 key; where ours are."""
YEARS = 10
NAME = "EchoMimic Studio, this installation"


def is_marking() -> bool:
    """Whether videos are marked: yes, unless the host says `ECHOMIMIC_MARKING=off`.

    Raises UserError for any other value than on and off.
    """
    asked = os.environ.get(MARKING, "on").strip().lower()
    if asked not in {"on", "off"}:
        raise UserError(f"{MARKING} is {asked!r}; set it to on or off.", "out")
    return asked == "on"


def signing_files() -> tuple[Path, Path]:
    """The PEM files of the chain and the key that sign here; ours are made where there are none.

    Raises UserError where only one of the owner's is named, one is missing, or ours cannot be made.
    """
    chain, key = os.environ.get(CHAIN), os.environ.get(KEY)
    if bool(chain) != bool(key):
        raise UserError(f"The video cannot be signed: set both {CHAIN} and {KEY}, or none.", "out")
    if chain and key:
        for path in (Path(chain), Path(key)):
            if not path.is_file():
                raise UserError(f"The video cannot be signed: {path} does not exist.", "out")
        return Path(chain), Path(key)
    folder = Path(os.environ.get(FOLDER) or user_data_path("echomimic-studio", appauthor=False) / "signing")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if not (folder / "chain.pem").is_file() or not (folder / "key.pem").is_file():
                _make(folder)
    except OSError as error:
        raise UserError(
            f"The video cannot be signed: no key can be kept in {folder} ({error.strerror}); name another folder in "
            f"{FOLDER}.",
            "out",
        ) from error
    return folder / "chain.pem", folder / "key.pem"


def _make(folder: Path) -> None:
    """Write `key.pem` and `chain.pem`. The authority's own key is thrown away: it signs this one certificate only."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(common: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "EchoMimic Studio"),
                x509.NameAttribute(NameOID.COMMON_NAME, common),
            ]
        )

    def begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365 * YEARS))
        )

    def usage(*, leaf: bool) -> x509.KeyUsage:
        return x509.KeyUsage(leaf, False, False, False, False, not leaf, not leaf, False, False)

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = name(f"{NAME}: authority")
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    root = (
        begun(root_name, root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(leaf=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        begun(name(NAME), root_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(leaf=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(above, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(folder / "key.pem", secret)
    _write(folder / "chain.pem", leaf.public_bytes(pem) + root.public_bytes(pem))


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and for nobody else's eyes from the first byte."""
    part = path.with_suffix(".partial")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    part.replace(path)
