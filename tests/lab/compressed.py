"""Python's imaplib over its own zlib against the proxy (RFC 4978).

Arguments: port, user, password. INBOX holds at least one message.
"""

import imaplib
import sys
import zlib


class Compressed(imaplib.IMAP4):
    """An IMAP client that compresses after `compress`."""

    deflate = None

    def compress(self):
        imaplib.Commands.setdefault("COMPRESS", ("AUTH", "SELECTED"))
        status, data = self._simple_command("COMPRESS", "DEFLATE")
        assert status == "OK", data
        self.deflate = zlib.compressobj(wbits=-15)
        self.inflate = zlib.decompressobj(wbits=-15)
        self.heard = b""

    def send(self, data):
        if self.deflate is not None:
            data = self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        super().send(data)

    def hear(self):
        raw = self.sock.recv(4096)
        assert raw, "the server closed the connection"
        self.heard += self.inflate.decompress(raw)

    def readline(self):
        if self.deflate is None:
            return super().readline()
        while b"\n" not in self.heard:
            self.hear()
        return self.take(self.heard.index(b"\n") + 1)

    def read(self, size):
        if self.deflate is None:
            return super().read(size)
        while len(self.heard) < size:
            self.hear()
        return self.take(size)

    def take(self, size):
        taken, self.heard = self.heard[:size], self.heard[size:]
        return taken


def main():
    port, user, password = sys.argv[1:]
    client = Compressed("localhost", int(port))
    client.login(user, password)
    client.compress()
    status, (count,) = client.select("INBOX")
    assert status == "OK" and int(count) > 0, (status, count)
    message = b"From: a@example.org\r\nSubject: compressed\r\n\r\n" + b"text " * 20000 + b"\r\n"
    status, data = client.append("INBOX", None, None, message)
    assert status == "OK", data
    client.noop()
    status, data = client.uid("SEARCH", None, "SUBJECT", "compressed")
    assert status == "OK" and data[0], data
    status, data = client.uid("FETCH", data[0].split()[-1], "(BODY.PEEK[])")
    assert status == "OK" and data[0][1] == message, status
    client.logout()


main()
