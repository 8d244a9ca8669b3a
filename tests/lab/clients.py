"""Python's imaplib against the proxy: STARTTLS and TLS, with a certificate that is checked.

Arguments: port, TLS port, CA file, user, password. INBOX holds at least one message.
"""

import imaplib
import ssl
import sys


def use(client, user, password):
    """Does what a simple client does, and fails where an answer is not what it must be."""
    client.login(user, password)
    status, (count,) = client.select("INBOX")
    assert status == "OK" and int(count) > 0, (status, count)
    _, (uids,) = client.uid("SEARCH", None, "ALL")
    uids = uids.split()
    assert len(uids) == int(count), (uids, count)
    for uid in uids:
        status, data = client.uid("FETCH", uid, "(UID FLAGS BODY.PEEK[])")
        assert status == "OK" and b"Subject:" in data[0][1], data
    message = b"From: a@example.org\r\nSubject: by imaplib\r\n\r\ntext\r\n"
    status, data = client.append("INBOX", r"(\Seen)", None, message)
    assert status == "OK", data
    client.noop()
    status, data = client.uid("SEARCH", None, "SUBJECT", '"by imaplib"')
    assert status == "OK" and data[0], data
    client.close()
    client.logout()


def main():
    port, tls_port, authority, user, password = sys.argv[1:]
    context = ssl.create_default_context(cafile=authority)
    client = imaplib.IMAP4("localhost", int(port))
    client.starttls(context)
    use(client, user, password)
    use(imaplib.IMAP4_SSL("localhost", int(tls_port), ssl_context=context), user, password)


main()
