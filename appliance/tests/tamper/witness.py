"""Has a witness of another author sign a checkpoint: witness.py NAME LOG_VKEY CHECKPOINT COSIGNED.

Prints the witness's verifier key, and writes the checkpoint as the witness shows it to everybody.
"""

import hashlib
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

name, log, checkpoint, cosigned = sys.argv[1:]
origin = log.split("+")[0]
program = pathlib.Path(sys.executable).parent / "aics-witness"

with tempfile.TemporaryDirectory() as home:
    config = ["--config", f"{home}/witness.json"]
    said = subprocess.run([program, "init", *config, "--name", name], check=True, capture_output=True, text=True)
    print(said.stdout.strip())
    subprocess.run([program, "add-log", *config, "--origin", origin, "--vkey", log], check=True, capture_output=True)
    server = subprocess.Popen(
        [program, "serve", *config, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    )
    try:
        address = next(line.split("listening on ")[1].split(" ")[0] for line in server.stderr if "listening on" in line)
        body = b"old 0\n\n" + pathlib.Path(checkpoint).read_bytes()
        with urllib.request.urlopen(f"{address}/add-checkpoint", body, timeout=30) as answer:
            assert answer.read().startswith(f"\u2014 {name} ".encode())
        place = hashlib.sha256(origin.encode()).hexdigest()
        with urllib.request.urlopen(f"{address}/{place}/checkpoint", timeout=30) as answer:
            pathlib.Path(cosigned).write_bytes(answer.read())
    finally:
        server.terminate()
        server.communicate(timeout=30)
