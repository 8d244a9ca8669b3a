"""The demonstration: an old server, a new one, the proxy between them, and what lies where.

Arguments: the proxy's binary, an empty directory, and `--once` to end by itself. Exits 0 if all was as it
should be, 1 with the reasons if not.
"""

import hashlib
import imaplib
import os
import re
import signal
import smtplib
import ssl
import subprocess
import sys
import time

from seed import FOLDERS, Message, fill, utf7, write
from servers import Dovecot, Proxy

USER, PASSWORD = "ann@example.com", "password"
SPECIAL = {"Sent Items": "Sent"}

# Every n-th message of a folder is opened, and all with attachments.
EVERY = 5

# How long the proxy may take to copy what was opened, in seconds.
PATIENCE = 60

imaplib._MAXLINE = 10_000_000


class Seen:
    """A message as a client sees it."""

    def __init__(self, uid, flags, date, octets):
        self.uid, self.flags, self.date = uid, flags, date
        self.size, self.digest = len(octets), hashlib.sha256(octets).hexdigest()

    def unlike(self, other):
        """What differs from another, in words."""
        if other is None:
            return "it is not there"
        pairs = [("flags", self.flags, other.flags), ("date", self.date, other.date),
                 ("octets", self.digest[:12], other.digest[:12])]
        return ", ".join(f"{what} {theirs} instead of {ours}" for what, ours, theirs in pairs if ours != theirs)

    def key(self):
        """What it is, wherever it lies."""
        return (self.digest, self.date, tuple(sorted(self.flags)))


class Client:
    """A mail client on one of the three."""

    def __init__(self, server):
        if isinstance(server, Proxy):
            context = ssl.create_default_context(cafile=server.authority)
            self.imap = imaplib.IMAP4("localhost", server.port)
            self.imap.starttls(context)
        else:
            self.imap = imaplib.IMAP4("127.0.0.1", server.port)
        self.imap.login(USER, PASSWORD)

    def ask(self, command, *arguments):
        """A command that must be answered OK; its untagged data."""
        status, data = getattr(self.imap, command)(*arguments)
        if status != "OK":
            raise RuntimeError(f"{command} {arguments}: {status} {data}")
        return data

    def folders(self):
        """The names of all mailboxes."""
        names = []
        for line in self.ask("list"):
            text = line[0] + b" " + quoted(line[1].decode()).encode() if isinstance(line, tuple) else line
            match = re.match(rb'\((.*?)\) (?:"(?:\\.|[^"])*"|NIL) (.*)$', text)
            if b"\\noselect" not in match[1].lower() and b"\\nonexistent" not in match[1].lower():
                name = match[2].decode()
                names.append(re.sub(r"\\(.)", r"\1", name[1:-1]) if name.startswith('"') else name)
        return names

    def status(self, folder, item):
        """One number of STATUS."""
        data = self.ask("status", quoted(folder), f"({item})")[-1]
        text = data if isinstance(data, bytes) else data[-1]
        return int(re.search(item.encode() + rb" (\d+)", text, re.I)[1])

    def count(self, folder):
        """How many messages a folder holds, or None if there is no such folder."""
        try:
            return self.status(folder, "MESSAGES")
        except RuntimeError:
            return None

    def open(self, folder, uids):
        """Opens messages as a person does: this marks them as read."""
        self.ask("select", quoted(folder))
        return self.fetch(uids, "BODY[]")

    def look(self, folder):
        """All messages of a folder, without touching them."""
        (count,) = self.ask("select", quoted(folder), True)
        return self.fetch("1:*", "BODY.PEEK[]") if int(count) else []

    def uids(self, folder):
        """All UIDs of a folder."""
        self.ask("select", quoted(folder), True)
        return [int(uid) for uid in self.ask("uid", "SEARCH", None, "ALL")[0].split()]

    def fetch(self, uids, body):
        """Messages of the selected folder with all that belongs to them."""
        seen = []
        data = self.ask("uid", "FETCH", uids, f"(UID FLAGS INTERNALDATE {body})")
        for n, item in enumerate(data):
            if isinstance(item, tuple):
                tail = data[n + 1] if n + 1 < len(data) and isinstance(data[n + 1], bytes) else b""
                head = item[0] + tail
                flags = re.search(rb"FLAGS \((.*?)\)", head)[1].decode().split()
                seen.append(Seen(int(re.search(rb"UID (\d+)", head)[1]), set(flags) - {"\\Recent"},
                                 re.search(rb'INTERNALDATE "(.*?)"', head)[1].decode(), item[1]))
        return seen


def quoted(name):
    """An IMAP quoted string."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Demo:
    """The three servers, and what is expected of them."""

    def __init__(self, binary, place):
        self.problems = []
        self.started = []
        self.binary, self.place = binary, place

    def start(self):
        """Fills and starts everything."""
        self.old = Dovecot(os.path.join(self.place, "old"), "old", ".", "INBOX.", {"Sent Items": "\\Sent"},
                           USER, PASSWORD)
        self.new = Dovecot(os.path.join(self.place, "new"), "new", "/", "",
                           {name: "\\" + name for name in ("Sent", "Drafts", "Trash", "Junk")}, USER, PASSWORD)
        seeded = fill(self.old)
        arrived = seeded["Work"][:3]
        fresh = [Message(m.octets.replace(b"Ann <", b"Ann Example <"), {"NonJunk"}, 1_790_000_000 + n, n + 1)
                 for n, m in enumerate(arrived)]
        write(self.new.directory("INBOX"), 1_700_000_000, fresh)
        for server in (self.old, self.new):
            server.start()
            self.started.append(server)
        self.proxy = Proxy(self.binary, os.path.join(self.place, "proxy"), self.old, self.new)
        self.started.append(self.proxy)

    def stop(self):
        """Ends everything."""
        for server in reversed(self.started):
            server.stop()

    def explain(self):
        """How to connect."""
        proxy = self.proxy
        print(f"""
The proxy serves one mailbox made of two servers. Connect with any mail client, or
  curl --cacert {proxy.authority} --user {USER}:{PASSWORD} imaps://localhost:{proxy.tls_port}/

  proxy   localhost:{proxy.port} (STARTTLS), localhost:{proxy.tls_port} (TLS), trust {proxy.authority}
          localhost:{proxy.smtp_port} takes mail for {USER}
  old     127.0.0.1:{self.old.port} (clear)   separator `.`, prefix `INBOX.`
  new     127.0.0.1:{self.new.port} (clear)   separator `/`, no prefix
  user    {USER}   password  {PASSWORD}
  files   {self.place} (configuration, logs, both servers' mail)
""")

    def names(self, folder):
        """A folder's names on old, on new, and through the proxy (those of old)."""
        coded = utf7(folder)
        return self.old.folder(coded), SPECIAL.get(folder, coded), self.old.folder(coded)

    def table(self, title):
        """Shows how many messages lie where."""
        old, new, proxy = Client(self.old), Client(self.new), Client(self.proxy)
        show = {None: "-"}
        print(f"\n{title}\n  {'folder':24}{'old':>8}{'new':>8}{'through the proxy':>20}")
        sums = [0, 0, 0]
        for folder in [name for name, _, _ in FOLDERS]:
            names = self.names(folder)
            counts = [client.count(name) for client, name in zip((old, new, proxy), names)]
            sums = [total + (count or 0) for total, count in zip(sums, counts)]
            cells = [str(show.get(count, count)) for count in counts]
            wide = sum(ord(character) > 0x2e80 for character in folder)
            print(f"  {folder:{24 - wide}}{cells[0]:>8}{cells[1]:>8}{cells[2]:>20}")
        print(f"  {'all':24}{sums[0]:>8}{sums[1]:>8}{sums[2]:>20}")

    def check(self, holds, what):
        """Notes what is not as it should be."""
        if not holds:
            self.problems.append(what)

    def check_merged(self):
        """The merged view is the union, with old's UIDVALIDITY and UIDs."""
        old, new, proxy = Client(self.old), Client(self.new), Client(self.proxy)
        listed = set(proxy.folders())
        for folder, _, _ in FOLDERS:
            on_old, on_new, shown = self.names(folder)
            self.check(shown in listed, f"{shown} is not listed through the proxy")
            union = old.count(on_old) + (new.count(on_new) or 0)
            self.check(proxy.count(shown) == union, f"{shown}: {proxy.count(shown)} messages, not {union}")
            validity = old.status(on_old, "UIDVALIDITY")
            self.check(proxy.status(shown, "UIDVALIDITY") == validity, f"{shown}: UIDVALIDITY is not {validity}")
            uids, expected = proxy.uids(shown), old.uids(on_old)
            self.check(uids[:len(expected)] == expected, f"{shown}: the UIDs are not old's")
            self.check(len(uids) == union, f"{shown}: {len(uids)} UIDs for {union} messages")

    def open_some(self):
        """Opens messages through the proxy with two real clients; what was opened, by folder."""
        old, proxy = Client(self.old), Client(self.proxy)
        opened = {}
        for folder, _, _ in FOLDERS:
            on_old, _, shown = self.names(folder)
            originals = old.look(on_old)
            chosen = [m for n, m in enumerate(originals) if n % EVERY == 0 or m.size > 20_000]
            if not chosen:
                continue
            uids = ",".join(str(m.uid) for m in chosen)
            for original, got in zip(chosen, proxy.open(shown, uids)):
                self.check((original.uid, original.digest) == (got.uid, got.digest),
                           f"{shown}: message {original.uid} came altered")
                original.flags.add("\\Seen")
            opened[folder] = chosen
        rest = [m for m in old.look("INBOX") if m.uid not in {o.uid for o in opened["INBOX"]}][:3]
        for original in rest:
            url = f"imaps://localhost:{self.proxy.tls_port}/INBOX/;UID={original.uid}"
            got = subprocess.run(
                ["curl", "--silent", "--show-error", "--cacert", self.proxy.authority,
                 "--user", f"{USER}:{PASSWORD}", url], capture_output=True)
            self.check(hashlib.sha256(got.stdout).hexdigest() == original.digest,
                       f"curl got message {original.uid} altered: {got.stderr.decode()}")
            original.flags.add("\\Seen")
            opened["INBOX"].append(original)
        print(f"\nOpened {sum(map(len, opened.values()))} messages through the proxy, by imaplib and curl.")
        return opened

    def check_copied(self, opened):
        """What was opened lies on new exactly once with everything it had; bounded waiting for the last."""
        new = Client(self.new)
        until = time.monotonic() + PATIENCE
        for folder, originals in opened.items():
            name = self.names(folder)[1]
            before = 3 if folder == "INBOX" else 0
            while (new.count(name) or 0) < before + len(originals) and time.monotonic() < until:
                time.sleep(0.2)
            copies = new.look(name) if new.count(name) is not None else []
            for original in originals:
                same = [copy for copy in copies if copy.digest == original.digest]
                self.check(len(same) == 1, f"{folder}: message {original.uid} is on new {len(same)} times")
                for copy in same:
                    self.check(copy.key() == original.key(),
                               f"{folder}: message {original.uid} on new: {original.unlike(copy)}")
            self.check(len(copies) == before + len(originals),
                       f"{folder}: {len(copies)} messages on new, not {before + len(originals)}")

    def view(self):
        """All that the proxy shows: folder, UID, octets, flags, date."""
        proxy = Client(self.proxy)
        return {folder: [(uid, proxy.status(self.names(folder)[2], "UIDVALIDITY"))
                         for uid in proxy.uids(self.names(folder)[2])] for folder, _, _ in FOLDERS}

    def check_unchanged(self, before, opened):
        """The proxy shows what it showed, the opened messages as read."""
        self.check(self.view() == before, "the proxy shows other UIDs than before")
        proxy = Client(self.proxy)
        for folder, originals in opened.items():
            shown = self.names(folder)[2]
            proxy.ask("select", quoted(shown), True)
            seen = {m.uid: m for m in proxy.fetch(",".join(str(m.uid) for m in originals), "BODY.PEEK[]")}
            for original in originals:
                got = seen.get(original.uid)
                self.check(got is not None and got.key() == original.key(),
                           f"{shown}: message {original.uid} through the proxy: {original.unlike(got)}")

    def mail(self):
        """Somebody writes through the proxy: it is in INBOX, though it lies on new alone."""
        subject = "Written while the demonstration ran"
        proxy, old, new = Client(self.proxy), Client(self.old), Client(self.new)
        before = [client.count("INBOX") for client in (proxy, old, new)]
        with smtplib.SMTP("localhost", self.proxy.smtp_port) as sender:
            context = ssl.create_default_context(cafile=self.proxy.authority)
            sender.starttls(context=context)
            sender.sendmail("carl@elsewhere.example", [USER], f"Subject: {subject}\r\n\r\nHello.\r\n")
        begun, until = time.monotonic(), time.monotonic() + PATIENCE
        while proxy.count("INBOX") == before[0] and time.monotonic() < until:
            time.sleep(0.05)
        after = [client.count("INBOX") for client in (proxy, old, new)]
        self.check(after == [before[0] + 1, before[1], before[2] + 1],
                   f"INBOX holds {after} messages after a delivery, and held {before}")
        proxy.ask("select", "INBOX", True)
        (shown,) = proxy.fetch(str(max(proxy.uids("INBOX"))), "BODY.PEEK[]")
        self.check(shown.digest in [message.digest for message in new.look("INBOX")],
                   "what was delivered is shown altered")
        print(f"\nMail from outside was taken by the proxy, delivered to new, and seen in the one INBOX after "
              f"{time.monotonic() - begun:.2f} s.")

    def tell(self):
        """Starts all, opens some, shows and checks what lies where."""
        self.start()
        self.explain()
        self.table("Before: everything lies on old, and three new messages on new.")
        self.check_merged()
        before = self.view()
        opened = self.open_some()
        self.check_copied(opened)
        self.table("After: what was opened lies on new as well; the client sees what it saw.")
        self.check_unchanged(before, opened)
        self.mail()
        if self.problems:
            print("\nNot as it should be:\n  " + "\n  ".join(self.problems[:40]), file=sys.stderr)
        else:
            print("\nAll as it should be: the union is shown, UIDVALIDITY and UIDs are old's, and each opened\n"
                  "message is on new exactly once, byte for byte, with flags, keywords and date.")


def main():
    binary, place, *options = sys.argv[1:]
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    demo = Demo(binary, place)
    try:
        demo.tell()
        if "--once" not in options:
            print("\nAll three stay up. Ctrl-C ends them.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print()
    except (RuntimeError, OSError, imaplib.IMAP4.error) as error:
        demo.problems.append(str(error))
        print(f"\nFailed: {error}", file=sys.stderr)
        if hasattr(demo, "proxy"):
            print(f"\nThe last of the proxy's log:\n{demo.proxy.process.tail()}", file=sys.stderr)
    finally:
        demo.stop()
    sys.exit(1 if demo.problems else 0)


main()
