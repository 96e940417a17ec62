"""A batch of SEPA credit transfers as XML: pain.001.001.09, which banks take as a file.

The elements stand in the order of the standard (ISO 20022, CustomerCreditTransferInitiationV09), with the texts that
the European Payments Council's guidelines allow. The same instructions give the same bytes.
"""

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from msgspec import Struct

from server.providers import bounds
from server.providers.currencies import written
from server.providers.iban import is_bic, is_iban
from server.providers.interface import Instruction

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
# The Latin characters that every bank must take (EPC217-08).
_OTHERS = re.compile(r"[^A-Za-z0-9/?:().,'+ -]")


class Debtor(Struct, frozen=True, kw_only=True):
    """Whose account the payouts leave."""

    name: str
    iban: str
    bic: str = ""


def refused(instruction: Instruction) -> str:
    """Why SEPA cannot carry a payout; '' if it can."""
    if instruction.currency != "EUR":
        return "currency_not_carried"
    if not 0 < instruction.amount <= bounds.SEPA_AMOUNT_MAX:
        return "amount_not_carried"
    payee = instruction.payee
    if not is_iban(payee.iban) or (payee.bic and not is_bic(payee.bic)):
        return "invalid_account"
    return "" if _plain(payee.name, bounds.SEPA_NAME_CHARS_MAX) else "invalid_name"


def batch_xml(debtor: Debtor, batch: str, instructions: Sequence[Instruction], now_ms: int) -> bytes:
    """The file of a batch. None of the instructions may be one that SEPA has `refused`."""
    document = Element("Document", xmlns=NAMESPACE)
    root = SubElement(document, "CstmrCdtTrfInitn")
    count, total = str(len(instructions)), written(sum(each.amount for each in instructions), "EUR")
    now = datetime.fromtimestamp(now_ms // 1000, UTC)
    head = SubElement(root, "GrpHdr")
    _texts(head, MsgId=batch, CreDtTm=now.strftime("%Y-%m-%dT%H:%M:%SZ"), NbOfTxs=count, CtrlSum=total)
    _texts(SubElement(head, "InitgPty"), Nm=_plain(debtor.name, bounds.SEPA_NAME_CHARS_MAX))
    info = SubElement(root, "PmtInf")
    _texts(info, PmtInfId=batch, PmtMtd="TRF", BtchBookg="true", NbOfTxs=count, CtrlSum=total)
    _texts(SubElement(SubElement(info, "PmtTpInf"), "SvcLvl"), Cd="SEPA")
    _texts(SubElement(info, "ReqdExctnDt"), Dt=now.strftime("%Y-%m-%d"))
    _party(info, "Dbtr", debtor.name)
    _account(info, "DbtrAcct", debtor.iban)
    _agent(info, "DbtrAgt", debtor.bic)
    _texts(info, ChrgBr="SLEV")
    for each in instructions:
        _transfer(info, each)
    indent(document, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(document, encoding="unicode")}\n'.encode()


def _transfer(parent: Element, instruction: Instruction) -> None:
    transfer = SubElement(parent, "CdtTrfTxInf")
    _texts(SubElement(transfer, "PmtId"), InstrId=instruction.key, EndToEndId=instruction.key)
    amount = SubElement(SubElement(transfer, "Amt"), "InstdAmt", Ccy=instruction.currency)
    amount.text = written(instruction.amount, instruction.currency)
    if instruction.payee.bic:
        _agent(transfer, "CdtrAgt", instruction.payee.bic)
    _party(transfer, "Cdtr", instruction.payee.name)
    _account(transfer, "CdtrAcct", instruction.payee.iban)
    if text := _plain(instruction.text, bounds.SEPA_TEXT_CHARS_MAX):
        _texts(SubElement(transfer, "RmtInf"), Ustrd=text)


def _party(parent: Element, tag: str, name: str) -> None:
    _texts(SubElement(parent, tag), Nm=_plain(name, bounds.SEPA_NAME_CHARS_MAX))


def _account(parent: Element, tag: str, iban: str) -> None:
    _texts(SubElement(SubElement(parent, tag), "Id"), IBAN=iban)


def _agent(parent: Element, tag: str, bic: str) -> None:
    """A bank. Since 2016 the IBAN is enough, and the standard wants the word for it."""
    bank = SubElement(SubElement(parent, tag), "FinInstnId")
    if bic:
        _texts(bank, BICFI=bic)
    else:
        _texts(SubElement(bank, "Othr"), Id="NOTPROVIDED")


def _texts(parent: Element, **texts: str) -> None:
    for tag, text in texts.items():
        SubElement(parent, tag).text = text


def _plain(text: str, chars_max: int) -> str:
    """A text in the characters that every bank takes: without accents, and without what has no such letter."""
    letters = unicodedata.normalize("NFKD", text.replace("ß", "ss").replace("ø", "o").replace("Ø", "O"))
    kept = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(_OTHERS.sub(" ", kept).split())[:chars_max].strip()
