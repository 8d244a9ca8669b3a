"""Servers for the demonstration: Dovecot of two shapes and the proxy, each ended with all it started."""

import os
import shutil
import signal
import socket
import subprocess
import time

# Who owns the mail: a user that every Debian has.
OWNER = 8


def free_port():
    """A port of the loopback interface that was free just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A process in a group of its own, its output in a file."""

    def __init__(self, name, arguments, log, port, greeting):
        self.name, self.log = name, log
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        until = time.monotonic() + 20
        while not greets(port, greeting):
            if self.child.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"{name} does not start:\n{self.tail()}")
            time.sleep(0.02)

    def stop(self):
        """Ends the whole group."""
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()

    def tail(self):
        """The last of what it said."""
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-40:])


def greets(port, greeting):
    """Whether a server on this port greets with this text."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return greeting in connection.recv(512)
    except OSError:
        return False


class Dovecot:
    """A Dovecot with one account, in clear on a loopback port."""

    def __init__(self, place, name, separator, prefix, special, user, password):
        self.place, self.name = place, name
        self.separator, self.prefix, self.special = separator, prefix, special
        self.user, self.password = user, password
        self.port, self.lmtp_port = free_port(), free_port()
        self.process = None
        for sub in ("run", "state", "mail"):
            os.makedirs(os.path.join(place, sub))
        os.chmod(place, 0o755)
        with open(os.path.join(place, "passwd"), "w") as passwd:
            passwd.write(f"{user}:{{PLAIN}}{password}\n")
        self.home = os.path.join(place, "mail", user)
        self.maildir = os.path.join(self.home, "Maildir")
        os.makedirs(self.maildir)

    def folder(self, name):
        """A folder's name (written with `/`) as this server writes it."""
        return name if name == "INBOX" else self.prefix + name.replace("/", self.separator)

    def directory(self, name):
        """Where a folder (written with `/`, in modified UTF-7) lies."""
        return self.maildir if name == "INBOX" else os.path.join(self.maildir, "." + name.replace("/", "."))

    def start(self):
        """Starts it, for one who has filled its mailboxes before."""
        for above, directories, files in os.walk(os.path.join(self.place, "mail")):
            for entry in [".", *directories, *files]:
                os.chown(os.path.join(above, entry), OWNER, OWNER)
        configuration = os.path.join(self.place, "dovecot.conf")
        with open(configuration, "w") as file:
            file.write(self.configuration())
        log = os.path.join(self.place, "log")
        binary = shutil.which("dovecot") or "/usr/sbin/dovecot"
        self.process = Process(self.name, [binary, "-F", "-c", configuration], log, self.port,
                               self.name.encode())

    def stop(self):
        """Ends it."""
        if self.process:
            self.process.stop()

    def configuration(self):
        """Its dovecot.conf."""
        folders = "".join(
            f'  mailbox "{folder}" {{\n    special_use = {use}\n    auto = subscribe\n  }}\n'
            for folder, use in self.special.items())
        return f"""protocols = imap lmtp
listen = 127.0.0.1
base_dir = {self.place}/run
state_dir = {self.place}/state
instance_name = demo-{self.name}-{self.port}
log_path = {self.place}/log
login_greeting = {self.name}
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
first_valid_uid = {OWNER}
first_valid_gid = {OWNER}
mail_location = maildir:~/Maildir
default_vsz_limit = 1G
passdb {{
  driver = passwd-file
  args = {self.place}/passwd
}}
userdb {{
  driver = static
  args = uid={OWNER} gid={OWNER} home={self.place}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = {self.separator}
  prefix = {self.prefix}
{folders}}}
service imap-login {{
  chroot =
  service_count = 0
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {self.lmtp_port}
  }}
}}
protocol lmtp {{
  postmaster_address = postmaster@example.com
}}
"""


class Proxy:
    """The proxy between two servers, with certificates of its own making."""

    def __init__(self, binary, place, old, new):
        self.place = place
        self.port, self.tls_port, self.smtp_port = free_port(), free_port(), free_port()
        self.configuration = os.path.join(place, "proxy.toml")
        self.authority = os.path.join(place, "certs", "ca.pem")
        os.makedirs(place)
        made = subprocess.run([binary, "certs", "--dir", os.path.join(place, "certs")],
                              capture_output=True, text=True)
        if made.returncode != 0:
            raise RuntimeError(f"mailferry certs: {made.stdout}{made.stderr}")
        with open(self.configuration, "w") as file:
            file.write(f"""state = "state"

[tls]
cert = "certs/proxy.pem"
key = "certs/proxy.key"

[[listen]]
protocol = "imap"
address = "127.0.0.1:{self.port}"

[[listen]]
protocol = "imaps"
address = "127.0.0.1:{self.tls_port}"

[[listen]]
protocol = "smtp"
address = "127.0.0.1:{self.smtp_port}"

[old]
imap = "imap://127.0.0.1:{old.port}?tls=none"
inbound = "lmtp://127.0.0.1:{old.lmtp_port}?tls=none"
[old.credentials]
mode = "same"

[new]
imap = "imap://127.0.0.1:{new.port}?tls=none"
inbound = "lmtp://127.0.0.1:{new.lmtp_port}?tls=none"
[new.credentials]
mode = "same"

[accounts]
domains = ["example.com"]
""")
        log = os.path.join(place, "log")
        self.process = Process("the proxy", [binary, "serve", "--config", self.configuration], log,
                               self.port, b"* OK")

    def stop(self):
        """Ends it."""
        self.process.stop()
