"""Messages like those of a mailbox that grew for years, written into Maildirs before a server opens them."""

import base64
import email.message
import email.policy
import email.utils
import os
import random

PEOPLE = [
    ("Jürgen Weiß", "juergen@example.org"), ("Maria Lindqvist", "maria@example.net"),
    ("山田 花子", "hanako@example.jp"), ("Billing", "billing@shop.example"),
    ("Ole Hansen", "ole@example.no"), ("Zoë O'Neil", "zoe@example.ie"),
    ("Newsletter", "news@paper.example"), ("Build server", "build@ci.example"),
]
SUBJECTS = [
    "Lunch on Thursday?", "Minutes of the meeting", "Rechnung Nr. 2{n:04}", "Your order {n} has shipped",
    "Re-scheduling the review", "写真を送ります", "Frühjahrsputz im Archiv", "Nightly build {n}: passed",
    "Invitation: planning {n}", "Quick question about the contract",
]
WORDS = ("the plan for next week is nearly done please look at the figures once more before we send them "
         "to the customer thanks a lot and see you on Monday in the usual room").split()
KEYWORDS = ["$Forwarded", "NonJunk", "$Label1", "Projekt-7", "$MDNSent"]

# Folder, how many messages, how many of them with attachments.
FOLDERS = [
    ("INBOX", 140, 9), ("Sent Items", 70, 4), ("Drafts", 4, 0), ("Trash", 18, 1), ("Work", 50, 3),
    ("Work/2016", 40, 2), ("Work/2016/Budget", 14, 2), ("Entwürfe alt", 12, 0), ("日本語", 16, 1),
    ("Lists/Rust & IMAP", 60, 0), ('He said "yes"', 7, 0), ("Family (private)", 25, 4), ("100% done", 6, 0),
    ("Empty", 0, 0),
]


class Message:
    """A message as it is to lie on a server."""

    def __init__(self, octets, flags, date, uid):
        self.octets, self.flags, self.date, self.uid = octets, flags, date, uid


def fill(server):
    """Fills a server with all folders; the messages by folder."""
    rng = random.Random(20)
    mailbox = {}
    for number, (folder, count, attached) in enumerate(FOLDERS):
        messages = conversation(rng, folder, count, attached)
        write(server.directory(utf7(folder)), 1_234_500_000 + number * 7_654_321, messages)
        mailbox[folder] = messages
    return mailbox


def conversation(rng, folder, count, attached):
    """Messages of one folder: threads, attachments, flags, UIDs with holes, dates over sixteen years."""
    messages, thread = [], []
    date, uid = 1_230_000_000 + rng.randrange(10**7), 0
    with_attachment = set(rng.sample(range(count), attached)) if attached else set()
    for n in range(count):
        date += rng.randrange(1000, 480_000_000 // max(count, 1))
        uid += rng.choice([1, 1, 1, 1, 2, 5, 40])
        if not thread or rng.random() < 0.25:
            thread = []
        ident = f"<{n}.{rng.getrandbits(64):x}@example.org>"
        octets = compose(rng, n, ident, thread, date, n in with_attachment)
        thread.append((ident, octets))
        flags = {flag for flag, chance in [("\\Seen", 0.7), ("\\Answered", 0.2), ("\\Flagged", 0.07)]
                 if rng.random() < chance}
        flags |= {keyword for keyword in KEYWORDS if rng.random() < 0.12}
        if folder == "Drafts":
            flags.add("\\Draft")
        messages.append(Message(octets, flags, date, uid))
    return messages


def compose(rng, n, ident, thread, date, attachment):
    """One message of a random kind."""
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    name, address = rng.choice(PEOPLE)
    message["From"] = email.utils.formataddr((name, address))
    message["To"] = "Ann <ann@example.com>"
    message["Subject"] = rng.choice(SUBJECTS).format(n=n)
    message["Date"] = email.utils.formatdate(date)
    message["Message-ID"] = ident
    if thread:
        message["In-Reply-To"] = thread[-1][0]
        message["References"] = " ".join(i for i, _ in thread[-12:])
    lines = [" ".join(rng.choices(WORDS, k=rng.randrange(4, 12))) for _ in range(rng.randrange(2, 30))]
    message.set_content("Grüße,\r\n" * (n % 3 == 0) + "\r\n".join(lines) + "\r\n")
    if n % 2:
        paragraphs = "".join(f"<p>{line}</p>" for line in lines)
        message.add_alternative(f"<html><body><h1>ä{n}</h1>{paragraphs}</body></html>", subtype="html")
    if attachment:
        size = rng.choice([20_000, 300_000, 800_000, 1_500_000, 2_200_000])
        message.add_attachment(rng.randbytes(size), maintype="application", subtype="pdf",
                               filename=f"Anhang {n}.pdf")
    return message.as_bytes()


def write(directory, uidvalidity, messages):
    """Writes a Maildir folder; the server will show exactly these UIDs, flags and dates."""
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(directory, sub), exist_ok=True)
    keywords = sorted({flag for message in messages for flag in message.flags if flag[0] != "\\"})
    letters = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}
    letters |= {keyword: chr(ord("a") + n) for n, keyword in enumerate(keywords)}
    uids = [f"3 V{uidvalidity} N{messages[-1].uid + 1 if messages else 1} G{uidvalidity:032x}\n"]
    for message in messages:
        size = len(message.octets)
        base = f"{message.date}.U{message.uid}.demo,S={size},W={size}"
        path = os.path.join(directory, "cur", base + ":2," + "".join(sorted(letters[f] for f in message.flags)))
        with open(path, "wb") as file:
            file.write(message.octets)
        os.utime(path, (message.date, message.date))
        uids.append(f"{message.uid} :{base}\n")
    with open(os.path.join(directory, "dovecot-uidlist"), "w") as file:
        file.writelines(uids)
    with open(os.path.join(directory, "dovecot-keywords"), "w") as file:
        file.writelines(f"{n} {keyword}\n" for n, keyword in enumerate(keywords))


def utf7(name):
    """Modified UTF-7 of a mailbox name (RFC 3501, 5.1.3)."""
    out, other = [], []

    def flush():
        if other:
            coded = base64.b64encode("".join(other).encode("utf-16-be")).decode()
            out.append("&" + coded.rstrip("=").replace("/", ",") + "-")
            other.clear()

    for character in name:
        if " " <= character <= "~":
            flush()
            out.append("&-" if character == "&" else character)
        else:
            other.append(character)
    flush()
    return "".join(out)
