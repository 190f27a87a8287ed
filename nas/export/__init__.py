"""An architecture as one readable file that needs only torch, with a certificate that it computes
what the search computed."""

from nas.export.certificate import Certificate, Check, Decoding
from nas.export.folder import Exported, export
from nas.export.header import Header
from nas.export.verify import Subject, verify

__all__ = [
    "Certificate",
    "Check",
    "Decoding",
    "Exported",
    "Header",
    "Subject",
    "export",
    "verify",
]
