"""Checks the proof in this directory with Python's standard library and openssl alone.

    python3 check.py log.vkey

The key should come from somewhere else than this directory: whoever could write the rest could write the key, too. It is
the log's first key or one that followed it; the changes after it are in key/.
"""

import base64
import hashlib
import pathlib
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
vkey = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else here / "log.vkey").read_text().strip()
record = (here / "record.json").read_bytes()
proof, checkpoint = (here / "record.tlog-proof").read_text().split("\n\n", 1)



def parsed(vkey):
    """Name, id, and public key of a C2SP verifier key."""
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key)
    if key[0] != 1 or hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] != key_id:
        sys.exit("the verifier key is malformed")
    return name, key_id, key[1:]


def opened(what, note, vkey):
    """The text of a C2SP signed note, if this key signed it."""
    name, key_id, key = parsed(vkey)
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    payloads = [base64.b64decode(line.split(" ")[2]) for line in signatures.splitlines() if line.split(" ")[1] == name]
    signature = next((p[4:] for p in payloads if p[:4].hex() == key_id), None)
    if signature is None:
        sys.exit(f"{what} is not signed by key {key_id}")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + key)
        (scratch / "text").write_text(text)
        (scratch / "signature").write_bytes(signature)
        openssl = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key", "-rawin"]
        if subprocess.run([*openssl, "-in", "text", "-sigfile", "signature"], cwd=scratch, capture_output=True).returncode:
            sys.exit(f"the signature does not fit {what}")
    return text


# The key that signed the head: each change is signed by the key before, and a new key signs its own.
name = parsed(vkey)[0]
changes = sorted((here / "key").glob("*.note"))
came = [n for n, change in enumerate(changes) if f"\nrotate {vkey}\n" in change.read_text()]
for change in changes[came[0] + 1 if came else 0 :]:
    title, origin, what, after = opened(change.name, change.read_text(), vkey).splitlines()
    if title != "audit-key/v1" or origin != name:
        sys.exit(f"{change.name} is about another log")
    if what.startswith("rotate "):
        vkey = what.removeprefix("rotate ")
        opened(change.name, change.read_text(), vkey)

# The head, C2SP tlog-checkpoint: origin, size, root, then signatures over just that.
origin, size, root = opened("the head", checkpoint, vkey).splitlines()
if origin != name:
    sys.exit("the head is of another log")

# The path, RFC 9162 section 2.1.3.2: from the record's hash to the signed root.
lines = [line for line in proof.splitlines()[1:] if not line.startswith("extra ")]
index, path = int(lines[0].removeprefix("index ")), [base64.b64decode(line) for line in lines[1:]]
node, last, size = index, int(size) - 1, int(size)
found = hashlib.sha256(b"\0" + record).digest()
for sibling in path:
    if last == 0:
        sys.exit("the path is too long")
    if node & 1 or node == last:
        found = hashlib.sha256(b"\1" + sibling + found).digest()
        while not node & 1 and node:
            node, last = node >> 1, last >> 1
    else:
        found = hashlib.sha256(b"\1" + found + sibling).digest()
    node, last = node >> 1, last >> 1
if index >= size or last or found != base64.b64decode(root):
    sys.exit("the record is not at this place of the log")
print(f"VALID: record {index} of the log {origin}, which has {size} records")
