"""Checks the evidence in this directory with Python's standard library and openssl alone.

    python3 check.py log.vkey

The key should come from somewhere else than this directory: whoever could write the rest could write the key, too. It is
the log's first key or one that followed it; the changes after it are in key/.
"""

import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
if len(sys.argv) != 2:
    sys.exit(__doc__)


def parsed(vkey):
    """Name, id, and public key of a C2SP verifier key."""
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key)
    if key[0] != 1 or hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] != key_id:
        sys.exit("the verifier key is malformed")
    return name, key_id, key[1:]


def signature(note, vkey):
    """The text of a C2SP signed note, and the signature that names this key."""
    name, key_id, _ = parsed(vkey)
    text, signatures = note.rsplit("\n\n", 1)
    payloads = [base64.b64decode(line.split(" ")[2]) for line in signatures.splitlines() if line.split(" ")[1] == name]
    return text + "\n", next((p[4:] for p in payloads if p[:4].hex() == key_id), None)


def opened(what, note, vkey):
    """The text of a signed note, if this key signed it."""
    _, key_id, key = parsed(vkey)
    text, signed = signature(note, vkey)
    if signed is None:
        sys.exit(f"{what} is not signed by key {key_id}")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + key)
        (scratch / "text").write_bytes(text.encode())
        (scratch / "signature").write_bytes(signed)
        openssl = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key", "-rawin"]
        if subprocess.run([*openssl, "-in", "text", "-sigfile", "signature"], cwd=scratch, capture_output=True).returncode:
            sys.exit(f"the signature does not fit {what}")
    return text


def read(path):
    return (here / path).read_bytes().decode()


def step(node, last):
    """Up to where the path has a sibling on the left."""
    while not node & 1 and node:
        node, last = node >> 1, last >> 1
    return node, last


def joined(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def included(hashed, index, size, path, root):
    """RFC 9162 section 2.1.3.2: whether the path leads from a record's hash to the signed root."""
    node, last = index, size - 1
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            hashed = joined(sibling, hashed)
            node, last = step(node, last)
        else:
            hashed = joined(hashed, sibling)
        node, last = node >> 1, last >> 1
    return index < size and last == 0 and hashed == root


def grown(old, before, new, after, path):
    """RFC 9162 section 2.1.4.2: whether the log of the old size is the beginning of the new one."""
    if old == new:
        return not path and before == after
    if old & (old - 1) == 0:
        path = [before, *path]
    if not path:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = joined(sibling, first), joined(sibling, second)
            node, last = step(node, last)
        else:
            second = joined(second, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and first == before and second == after


def proof(path):
    """Place, hashes, and head of a C2SP tlog-proof."""
    text, checkpoint = read(path).split("\n\n", 1)
    lines = [line for line in text.splitlines()[1:] if not line.startswith("extra ")]
    return int(lines[0].removeprefix("index ")), [base64.b64decode(line) for line in lines[1:]], checkpoint


def head(what, note, vkey):
    """Size and root of a C2SP tlog-checkpoint of this log."""
    origin, size, root = opened(what, note, vkey).splitlines()
    if origin != name:
        sys.exit(f"{what} is a head of another log")
    return int(size), base64.b64decode(root)


# The key that signed all this: each change is signed by the key before, and a new key signs its own.
given = vkey = pathlib.Path(sys.argv[1]).read_text().strip()
name = parsed(vkey)[0]
keys = [vkey]
changes = sorted((here / "key").glob("*.note"))
came = [n for n, change in enumerate(changes) if f"\nrotate {vkey}\n" in change.read_text()]
for change in changes[came[0] + 1 if came else 0 :]:
    title, origin, what, after = opened(change.name, change.read_text(), vkey).splitlines()
    if title != "audit-key/v1" or origin != name:
        sys.exit(f"{change.name} is about another log")
    if what.startswith("rotate "):
        vkey = what.removeprefix("rotate ")
        keys.append(vkey)
        opened(change.name, change.read_text(), vkey)


def one_record():
    """What `audit prove` wrote: a record, or the hash of one that was pruned."""
    index, path, checkpoint = proof("record.tlog-proof")
    size, root = head("the head", checkpoint, vkey)
    if (here / "record.json").exists():
        what, hashed = f"record {index}", hashlib.sha256(b"\0" + (here / "record.json").read_bytes()).digest()
    else:
        what, hashed = f"the hash of the pruned record {index}", bytes.fromhex(read("record.sha256").strip())
    if not included(hashed, index, size, path, root):
        sys.exit("the record is not at this place of the log")
    print(f"VALID: {what} of the log {name}, which has {size} records")


def earlier_heads(size, root):
    """Heads as they were published or stamped: each must be of the same log at an earlier size."""
    checked = 0
    for file in sorted([*here.glob("heads/*.checkpoint"), *here.glob("tsr/*.checkpoint")]):
        note = file.read_bytes().decode()
        signed_by = next((key for key in reversed(keys) if signature(note, key)[1]), None)
        if signed_by is None:
            print(f"{file.name} is by a key before yours, so it was not checked")
            continue
        old, before = head(file.name, note, signed_by)
        path = [base64.b64decode(line) for line in file.with_suffix(".consistency").read_text().splitlines()]
        if old > size or not grown(old, before, size, root, path):
            sys.exit(f"{file.name} is no beginning of this log")
        checked += 1
    print(f"{checked} earlier heads are beginnings of the same log")


def bundle():
    """What `audit bundle` wrote."""
    # The files are those that were signed together, and no others.
    manifest = opened("manifest.note", read("manifest.note"), vkey).splitlines()
    listed = {path: digest for digest, path in (line.split("  ", 1) for line in manifest[3:])}
    found = {str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()} - {"manifest.note"}
    if manifest[:2] != ["audit-bundle/v1", name] or found != set(listed):
        sys.exit(f"the manifest is about other files: {sorted(found ^ set(listed))}")
    for path, digest in listed.items():
        if hashlib.sha256((here / path).read_bytes()).hexdigest() != digest:
            sys.exit(f"{path} is not what was signed")
    size, root = head("checkpoint", read("checkpoint"), vkey)
    said_root = f"{size} {base64.b64encode(root).decode()}"
    if manifest[2] != f"root {said_root}":
        sys.exit("the head is of another log")

    records = (here / "records.jsonl").read_bytes().split(b"\n")[:-1]
    matches = hashlib.sha256()
    for record in records:
        seq = json.loads(record)["seq"]
        index, path, _ = proof(f"proofs/{seq}.tlog-proof")
        hashed = hashlib.sha256(b"\0" + record).digest()
        if index != seq or not included(hashed, index, size, path, root):
            sys.exit(f"record {seq} is not at its place of the log")
        matches.update(hashed)

    # What the answer claims to be complete for.
    claim = opened("coverage.note", read("coverage.note"), vkey).splitlines()
    question = json.loads(read("query.json"))["q"]
    said = dict(line.split(" ", 1) for line in claim[2:])
    if (
        claim[:2] != ["audit-query/v1", name]
        or said["query"] != "sha256:" + hashlib.sha256(question.encode()).hexdigest()
        or said["root"] != said_root
        or said["matches"] != f"{len(records)} sha256:{matches.hexdigest()}"
    ):
        sys.exit("coverage.note is about another answer")
    print(f"VALID: {len(records)} records of the log {name}, which has {size}; complete for {said['range']}")
    earlier_heads(size, root)


if (here / "records.jsonl").exists():
    bundle()
else:
    one_record()
if vkey != given:
    print(f"signed by a later key, which follows from yours: {vkey}")
