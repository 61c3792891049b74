"""The throw-away certificate authority."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509

from amlocal.workspace import certificates
from amlocal.workspace.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    result = Layout(tmp_path)
    result.create()
    return result


def test_the_authority_vouches_for_the_workspaces_domain_only(layout: Layout) -> None:
    certificates.ensure_certificates(layout)
    authority = x509.load_pem_x509_certificate((layout.tls / "ca.pem").read_bytes())
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert [name.value for name in constraints.value.permitted_subtrees or []] == ["amlocal.test"]


def test_certificates_are_kept_until_they_are_old(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, _ = certificates.ensure_certificates(layout)
    first = certificate.read_bytes()
    certificates.ensure_certificates(layout)
    assert certificate.read_bytes() == first
    monkeypatch.setattr(certificates, "RENEW_BEFORE", datetime.timedelta(days=366))
    certificates.ensure_certificates(layout)
    assert certificate.read_bytes() != first


def test_the_users_own_authorities_stay_trusted(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = tmp_path / "company.pem"
    company.write_text("the company's certificate")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(company))
    certificates.ensure_certificates(layout)
    size = layout.ca_bundle.stat().st_size
    assert "the company's certificate" in layout.ca_bundle.read_text()
    assert (layout.tls / "ca.pem").read_text() in layout.ca_bundle.read_text()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(layout.ca_bundle))
    certificates.ensure_certificates(layout)
    assert layout.ca_bundle.stat().st_size == size
