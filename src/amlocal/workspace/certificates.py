"""A throw-away certificate authority: Azure's clients insist on https, and only this workspace is trusted.

The authority's private key never reaches the disk and its certificate is constrained to the workspace's own
domain, so trusting it exposes nothing else.
"""

import datetime
import os
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from amlocal.workspace import names
from amlocal.workspace.layout import Layout, write_atomically

VALIDITY = datetime.timedelta(days=365)
RENEW_BEFORE = datetime.timedelta(days=30)


def ensure_certificates(layout: Layout) -> tuple[Path, Path]:
    """Make the server's certificate and the bundle that clients trust, unless they are there and fresh.

    Args:
        layout: Where they are kept.

    Returns:
        Files with the server's certificate and with its private key.
    """
    certificate, key, authority = (layout.tls / name for name in ("server.pem", "server.key", "ca.pem"))
    if not (key.exists() and authority.exists() and _is_fresh(certificate)):
        authority_pem, certificate_pem, key_pem = _issue(datetime.datetime.now(datetime.UTC))
        write_atomically(authority, authority_pem)
        write_atomically(key, key_pem)
        write_atomically(certificate, certificate_pem)
    write_atomically(layout.ca_bundle, _bundle(layout, authority.read_bytes()))
    return certificate, key


def _is_fresh(certificate: Path) -> bool:
    if not certificate.exists():
        return False
    expiry = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    return expiry - datetime.datetime.now(datetime.UTC) > RENEW_BEFORE


def _bundle(layout: Layout, authority: bytes) -> bytes:
    """Join the public authorities, those the user's environment names (a company's proxy) and our own."""
    parts = [Path(certifi.where()).read_bytes(), authority]
    for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        extra = Path(os.environ.get(variable, ""))
        ours = extra == layout.ca_bundle  # when the daemon is started from a step
        if not ours and extra.is_file() and (data := extra.read_bytes()) not in parts:
            parts.append(data)
    return b"\n".join(parts)


def _issue(now: datetime.datetime) -> tuple[bytes, bytes, bytes]:
    """Make an authority and a server certificate; return both and the server's key, PEM-encoded."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "amlocal workspace")])
    key_usage = {
        "digital_signature": True,
        "content_commitment": False,
        "key_encipherment": False,
        "data_encipherment": False,
        "key_agreement": False,
        "key_cert_sign": True,
        "crl_sign": True,
        "encipher_only": False,
        "decipher_only": False,
    }
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**key_usage), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName(names.DOMAIN)], None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.MANAGEMENT_HOST)])
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names.CERTIFICATE_NAMES])
    certificate = (
        _builder(subject, authority_name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = serialization.Encoding.PEM
    return authority.public_bytes(pem), certificate.public_bytes(pem), private


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # A client whose clock lags a little still accepts it.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + VALIDITY)
    )
