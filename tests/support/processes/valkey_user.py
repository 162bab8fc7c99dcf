"""A process that uses the embedded server until its standard input ends.

Run as `python -I -S valkey_user.py <valkey.py> <data directory> <binary>`; prints the server's address when it answers.
"""

import importlib.util
import sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("valkey", sys.argv[1])
assert spec and spec.loader
valkey = importlib.util.module_from_spec(spec)
spec.loader.exec_module(valkey)
lease = valkey.Lease(Path(sys.argv[2]), Path(sys.argv[3]))
lease.take()
print(lease.address, flush=True)
sys.stdin.read()
