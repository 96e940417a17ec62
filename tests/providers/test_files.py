"""The provider by files: batches for the bank, and results that come back row by row."""

import csv
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from server.providers import bounds
from server.providers.files import FileProvider
from server.providers.interface import BadWebhook, Instruction, Outcome, Payee, Standing
from server.providers.sepa import NAMESPACE, Debtor

IBAN = "DE89370400440532013000"
DEBTOR = Debtor(name="Liveroom GmbH", iban="GB82WEST12345698765432")
NOW_MS = 1_767_225_599_000  # 2025-12-31, 23:59:59 UTC


def a_payout(n: int = 1, *, batch: str = "b1", sent_ms: int = NOW_MS, **payee: str) -> Instruction:
    whose = Payee(**{"name": "Ann Example", "iban": IBAN, **payee})
    return Instruction(
        key=f"lr-{n}", batch=batch, amount=1_000 + n, currency="EUR", payee=whose, text="Payout", sent_ms=sent_ms
    )


def provider(folder: Path, now_ms: int = NOW_MS, *, sepa: bool = True) -> FileProvider:
    return FileProvider("bank", folder, lambda: now_ms, DEBTOR if sepa else None)


def results(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    out = io.StringIO()
    sheet = csv.DictWriter(out, sorted({key for row in rows for key in row}))
    sheet.writeheader()
    sheet.writerows(rows)
    (folder / "results" / name).write_text(out.getvalue())


# --- the file for the bank -----------------------------------------------------------------------------------------
# The order of elements in pain.001.001.09, as far as we use them; `?` may be absent, `+` comes once or more.
ORDER = {
    "Document": "CstmrCdtTrfInitn",
    "CstmrCdtTrfInitn": "GrpHdr PmtInf+",
    "GrpHdr": "MsgId CreDtTm NbOfTxs CtrlSum? InitgPty",
    "InitgPty": "Nm?",
    "PmtInf": "PmtInfId PmtMtd BtchBookg? NbOfTxs? CtrlSum? PmtTpInf? ReqdExctnDt Dbtr DbtrAcct DbtrAgt ChrgBr? "
    "CdtTrfTxInf+",
    "PmtTpInf": "SvcLvl",
    "SvcLvl": "Cd",
    "ReqdExctnDt": "Dt",
    "Dbtr": "Nm",
    "DbtrAcct": "Id",
    "DbtrAgt": "FinInstnId",
    "CdtTrfTxInf": "PmtId Amt CdtrAgt? Cdtr CdtrAcct RmtInf?",
    "PmtId": "InstrId? EndToEndId",
    "Amt": "InstdAmt",
    "CdtrAgt": "FinInstnId",
    "FinInstnId": "BICFI? Othr?",
    "Othr": "Id",
    "Cdtr": "Nm",
    "CdtrAcct": "Id",
    "RmtInf": "Ustrd?",
}
LENGTHS = {"MsgId": 35, "PmtInfId": 35, "InstrId": 35, "EndToEndId": 35, "Nm": 70, "Ustrd": 140}


def check(element: ElementTree.Element) -> None:
    """An element has its children in the standard's order, and texts in the standard's lengths."""
    tag = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    children = [child.tag.removeprefix(f"{{{NAMESPACE}}}") for child in element]
    if tag in ("DbtrAcct", "CdtrAcct"):
        (account,) = element
        assert [each.tag for each in account] == [f"{{{NAMESPACE}}}IBAN"]
        return
    left = list(children)
    for wanted in ORDER.get(tag, "").split():
        name, least, most = wanted.rstrip("?+"), "?" not in wanted, len(left) if "+" in wanted else 1
        count = 0
        while left and left[0] == name and count < most:
            left.pop(0)
            count += 1
        assert count >= least, f"{tag} lacks {name}: {children}"
    assert left == [], f"{tag} has {left} out of order"
    if not children:
        assert element.text
        assert len(element.text) <= LENGTHS.get(tag, 1000)
    for child in element:
        check(child)


def test_a_sepa_batch(tmp_path: Path) -> None:
    """It is in the standard's order, its count and sum are right, and every transfer has its key and amount."""
    batch = [a_payout(1), a_payout(2, bic="COBADEFFXXX", name="Zoë Nuñez-Weiß & Söhne <Ø>"), a_payout(3)]
    assert {each.standing for each in provider(tmp_path).submit(batch).values()} == {Standing.PENDING}
    root = ElementTree.parse(tmp_path / "out" / "b1.xml").getroot()
    check(root)
    here = {"x": NAMESPACE}
    assert [each.text for each in root.findall(".//x:CtrlSum", here)] == ["30.06", "30.06"]
    assert [each.text for each in root.findall(".//x:NbOfTxs", here)] == ["3", "3"]
    assert [each.text for each in root.findall(".//x:EndToEndId", here)] == ["lr-1", "lr-2", "lr-3"]
    amounts = root.findall(".//x:InstdAmt", here)
    assert [(each.text, each.attrib) for each in amounts] == [(f"10.0{n}", {"Ccy": "EUR"}) for n in (1, 2, 3)]
    assert [each.text for each in root.findall(".//x:Cdtr/x:Nm", here)][1] == "Zoe Nunez-Weiss Sohne O"
    assert root.find(".//x:ReqdExctnDt/x:Dt", here).text == "2025-12-31"  # type: ignore[union-attr]


def test_the_check_sees_a_wrong_order(tmp_path: Path) -> None:
    """The check itself can fail."""
    provider(tmp_path).submit([a_payout()])
    root = ElementTree.parse(tmp_path / "out" / "b1.xml").getroot()
    transfer = root.find(f".//{{{NAMESPACE}}}CdtTrfTxInf")
    assert transfer is not None
    first = transfer[0]
    transfer.remove(first)
    transfer.append(first)
    with pytest.raises(AssertionError):
        check(root)


def test_what_sepa_cannot_carry(tmp_path: Path) -> None:
    """Another currency, a mistyped account or a name without any letter fail by themselves; the others go."""
    dollars = Instruction(key="lr-5", batch="b1", amount=1, currency="USD", payee=Payee("Ann", IBAN))
    bad = [a_payout(2, iban="DE89370400440532013001"), a_payout(3, name="安"), a_payout(4, bic="nonsense"), dollars]
    said = provider(tmp_path).submit([a_payout(1), *bad])
    assert said["lr-1"].standing is Standing.PENDING
    assert [(said[each.key].standing, said[each.key].reason) for each in bad] == [
        (Standing.FAILED, "invalid_account"),
        (Standing.FAILED, "invalid_name"),
        (Standing.FAILED, "invalid_account"),
        (Standing.FAILED, "currency_not_carried"),
    ]
    # A process that died before it could write that down finds the same.
    later = provider(tmp_path, NOW_MS + bounds.BATCH_WRITTEN_MS).look_up([a_payout(1), *bad])
    assert later["lr-1"].standing is Standing.PENDING
    assert {later[each.key].standing for each in bad} == {Standing.FAILED}


def test_a_csv_batch(tmp_path: Path) -> None:
    """Texts stay what they are, but no spreadsheet takes them for a formula."""
    provider(tmp_path, sepa=False).submit([a_payout(1, name='=HYPERLINK("x"), "Ann"\nB')])
    (row,) = csv.DictReader(io.StringIO((tmp_path / "out" / "b1.csv").read_bytes().decode(), newline=""))
    assert row["name"] == 'HYPERLINK("x"), "Ann"\nB'
    assert (row["key"], row["amount"], row["currency"], row["account"]) == ("lr-1", "10.01", "EUR", IBAN)


# --- results -------------------------------------------------------------------------------------------------------
def test_a_batch_comes_back_in_parts(tmp_path: Path) -> None:
    """Of 233 payouts 118 are done, 105 failed and 10 came back: each row stands for itself (gumroad#5561)."""
    bank, batch = provider(tmp_path), [a_payout(n) for n in range(240)]
    bank.submit(batch)
    words = ["done"] * 118 + ["failed"] * 105 + ["returned"] * 10
    rows = [{"key": f"lr-{n}", "status": word, "reason": f"r{n}", "ref": f"ref{n}"} for n, word in enumerate(words)]
    results(tmp_path, "first.csv", rows[:100])
    results(tmp_path, "second.csv", rows[100:])
    said = [bank.look_up(batch)[each.key].standing for each in batch]
    assert said == [Standing.PAID] * 118 + [Standing.FAILED] * 105 + [Standing.RETURNED] * 10 + [Standing.PENDING] * 7
    assert bank.look_up(batch)["lr-120"] == Outcome(Standing.FAILED, "ref120", "r120")


@pytest.mark.parametrize(
    ("rows", "standing"),
    [
        ([{"status": "done"}, {"status": "done"}], Standing.PAID),
        ([{"status": "returned"}, {"status": "done"}], Standing.RETURNED),
        ([{"status": "failed"}, {"status": "done"}], Standing.UNKNOWN),
        ([{"status": "done", "amount": "10.01", "currency": "EUR"}], Standing.PAID),
        ([{"status": "done", "amount": "10.02", "currency": "EUR"}], Standing.UNKNOWN),
        ([{"status": "done", "amount": "10.01", "currency": "USD"}], Standing.UNKNOWN),
        ([{"status": "done", "amount": "1e1"}], Standing.UNKNOWN),
        ([{"status": "perhaps"}], Standing.PENDING),
        ([{"status": " DONE "}], Standing.PAID),
    ],
)
def test_rows_of_one_payout(tmp_path: Path, rows: list[dict[str, str]], standing: Standing) -> None:
    """Rows may come twice and out of order. What contradicts itself, or has another amount, says nothing."""
    bank = provider(tmp_path)
    bank.submit([a_payout()])
    results(tmp_path, "r.csv", [{"key": "lr-1", **row} for row in rows])
    assert bank.look_up([a_payout()])["lr-1"].standing is standing


@pytest.mark.parametrize("data", [b"\xff\xfe", b'key,status\n"lr-1,done', b"", b"key\n" + b"x" * 200_000])
def test_a_results_file_that_nobody_can_read(tmp_path: Path, data: bytes) -> None:
    """It is left out, and the other files count."""
    bank = provider(tmp_path)
    bank.submit([a_payout()])
    (tmp_path / "results" / "a.csv").write_bytes(data)
    assert bank.look_up([a_payout()])["lr-1"].standing is Standing.PENDING
    results(tmp_path, "b.csv", [{"key": "lr-1", "status": "done"}])
    assert bank.look_up([a_payout()])["lr-1"].standing is Standing.PAID


def test_a_results_file_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left out: nobody fills the memory by a file."""
    monkeypatch.setattr(bounds, "RESULT_BYTES_MAX", 20)
    bank = provider(tmp_path)
    bank.submit([a_payout()])
    results(tmp_path, "a.csv", [{"key": "lr-1", "status": "done", "reason": "x" * 20}])
    assert bank.look_up([a_payout()])["lr-1"].standing is Standing.PENDING


# --- crashes -------------------------------------------------------------------------------------------------------
def test_a_batch_that_was_never_written(tmp_path: Path) -> None:
    """Its process died before the file: after a while it is given up, and who wakes later cannot write it."""
    assert provider(tmp_path).look_up([a_payout()])["lr-1"].standing is Standing.UNKNOWN
    late = provider(tmp_path, NOW_MS + bounds.BATCH_WRITTEN_MS)
    for _ in range(2):
        assert late.look_up([a_payout()])["lr-1"].standing is Standing.NOT_SENT
    assert provider(tmp_path).submit([a_payout()])["lr-1"].standing is Standing.NOT_SENT
    assert list((tmp_path / "out").iterdir()) == []


def test_a_batch_that_was_claimed_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process died between the claim and the file's last step: the next look-up ends it."""

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as broken:
        broken.setattr("os.replace", die)
        with pytest.raises(Died):
            provider(tmp_path).submit([a_payout()])
    assert not (tmp_path / "out" / "b1.xml").exists()
    late = provider(tmp_path, NOW_MS + bounds.BATCH_WRITTEN_MS)
    assert late.look_up([a_payout()])["lr-1"].standing is Standing.PENDING
    assert (tmp_path / "out" / "b1.xml").exists()


def test_a_file_that_somebody_took_away(tmp_path: Path) -> None:
    """People move files to the bank: the batch is under way."""
    bank = provider(tmp_path, NOW_MS + bounds.BATCH_WRITTEN_MS)
    bank.submit([a_payout()])
    (tmp_path / "out" / "b1.xml").unlink()
    assert bank.look_up([a_payout()])["lr-1"].standing is Standing.PENDING


def test_two_at_once(tmp_path: Path) -> None:
    """Of one who writes and one who gives up, exactly one wins, and both say the same."""
    for n in range(30):
        payout = a_payout(n, batch=f"b{n}")
        written, given_up = _at_once(tmp_path, payout)
        shown = (tmp_path / "out" / f"b{n}.xml").exists()
        assert (given_up is Standing.NOT_SENT) is (not shown)
        assert written in ((Standing.PENDING, Standing.UNKNOWN) if shown else (Standing.NOT_SENT,))


def _at_once(folder: Path, payout: Instruction) -> tuple[Standing, Standing]:
    begin = threading.Barrier(2)

    def write() -> Standing:
        begin.wait()
        return provider(folder).submit([payout])[payout.key].standing

    def give_up() -> Standing:
        begin.wait()
        return provider(folder, NOW_MS + bounds.BATCH_WRITTEN_MS).look_up([payout])[payout.key].standing

    with ThreadPoolExecutor(2) as pool:
        both = pool.submit(write), pool.submit(give_up)
        return both[0].result(), both[1].result()


def test_a_folder_that_fails(tmp_path: Path) -> None:
    """Nobody knows what became of the batch."""
    bank = provider(tmp_path)
    (tmp_path / "claims").rmdir()
    assert bank.submit([a_payout()])["lr-1"].standing is Standing.UNKNOWN


def test_files_send_no_webhooks(tmp_path: Path) -> None:
    """Their results are files."""
    with pytest.raises(BadWebhook):
        provider(tmp_path).webhook({}, b"{}", NOW_MS)
