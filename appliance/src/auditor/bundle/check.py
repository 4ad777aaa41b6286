"""Checks the bundle in this directory with Python's standard library and openssl alone.

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


def opened(file, vkey):
    """The text of a C2SP signed note, if this key signed it."""
    name, key_id, key = parsed(vkey)
    text, signatures = file.read_bytes().decode().rsplit("\n\n", 1)
    text += "\n"
    payloads = [base64.b64decode(line.split(" ")[2]) for line in signatures.splitlines() if line.split(" ")[1] == name]
    signature = next((p[4:] for p in payloads if p[:4].hex() == key_id), None)
    if signature is None:
        sys.exit(f"{file.name} is not signed by key {key_id}")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + key)
        (scratch / "text").write_bytes(text.encode())
        (scratch / "signature").write_bytes(signature)
        openssl = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key", "-rawin"]
        if subprocess.run([*openssl, "-in", "text", "-sigfile", "signature"], cwd=scratch, capture_output=True).returncode:
            sys.exit(f"the signature does not fit {file.name}")
    return text


# The key that signed all this: each change is signed by the key before, and a new key signs its own.
given = vkey = pathlib.Path(sys.argv[1]).read_text().strip()
name = parsed(vkey)[0]
changes = sorted((here / "key").glob("*.note"))
came = [n for n, change in enumerate(changes) if f"\nrotate {vkey}\n" in change.read_text()]
for change in changes[came[0] + 1 if came else 0 :]:
    title, origin, what, after = opened(change, vkey).splitlines()
    if title != "audit-key/v1" or origin != name:
        sys.exit(f"{change.name} is about another log")
    if what.startswith("rotate "):
        vkey = what.removeprefix("rotate ")
        opened(change, vkey)

# The files are those that were signed together, and no others.
manifest = opened(here / "manifest.note", vkey).splitlines()
listed = {path: digest for digest, path in (line.split("  ", 1) for line in manifest[3:])}
found = {str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()} - {"manifest.note"}
if manifest[:2] != ["audit-bundle/v1", name] or found != set(listed):
    sys.exit(f"the manifest is about other files: {sorted(found ^ set(listed))}")
for path, digest in listed.items():
    if hashlib.sha256((here / path).read_bytes()).hexdigest() != digest:
        sys.exit(f"{path} is not what was signed")

# The head, C2SP tlog-checkpoint: origin, size, root.
origin, size, root = opened(here / "checkpoint", vkey).splitlines()
if origin != name or manifest[2] != f"root {size} {root}":
    sys.exit("the head is of another log")

# Each record, RFC 9162 section 2.1.3.2: from its hash to the signed root.
records = (here / "records.jsonl").read_bytes().split(b"\n")[:-1]
matches = hashlib.sha256()
for record in records:
    seq = json.loads(record)["seq"]
    proof, head = (here / "proofs" / f"{seq}.tlog-proof").read_text().split("\n\n", 1)
    lines = [line for line in proof.splitlines()[1:] if not line.startswith("extra ")]
    index, path = int(lines[0].removeprefix("index ")), [base64.b64decode(line) for line in lines[1:]]
    node, last = index, int(size) - 1
    leaf = hashed = hashlib.sha256(b"\0" + record).digest()
    for sibling in path:
        if last == 0:
            sys.exit(f"the path of record {seq} is too long")
        if node & 1 or node == last:
            hashed = hashlib.sha256(b"\1" + sibling + hashed).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            hashed = hashlib.sha256(b"\1" + hashed + sibling).digest()
        node, last = node >> 1, last >> 1
    if index != seq or index >= int(size) or last or hashed != base64.b64decode(root):
        sys.exit(f"record {seq} is not at its place of the log")
    matches.update(leaf)

# What the answer claims to be complete for.
claim = opened(here / "coverage.note", vkey).splitlines()
question = json.loads((here / "query.json").read_text())["q"]
said = dict(line.split(" ", 1) for line in claim[2:])
if (
    claim[:2] != ["audit-query/v1", name]
    or said["query"] != "sha256:" + hashlib.sha256(question.encode()).hexdigest()
    or said["root"] != f"{size} {root}"
    or said["matches"] != f"{len(records)} sha256:{matches.hexdigest()}"
):
    sys.exit("coverage.note is about another answer")
print(f"VALID: {len(records)} records of the log {origin}, which has {size}; complete for {said['range']}")
if vkey != given:
    print(f"signed by a later key, which follows from yours: {vkey}")
