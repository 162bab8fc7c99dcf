"""The HTTP shell with few file descriptors, as under `ulimit -n 96`."""

import resource
import sys

from tests.support.servers.shell import main

FEW_FILES = ("tests.support.servers.few_files",)
"""For `running(command=FEW_FILES)`."""
DESCRIPTORS = 96

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    sys.exit(main())
