//! Any octets as a client's lines and as a server's: no panic, and what goes on is one line that
//! means the same to who reads it next.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mailferry::smtp::{Command, Extensions, ReplyReader, take_line};

fuzz_target!(|octets: &[u8]| {
    let mut input = BytesMut::from(octets);
    let mut reader = ReplyReader::default();
    while let Ok(Some(line)) = take_line(&mut input, 1000) {
        let written = match Command::parse(&line) {
            Ok(Command::Mail(mail)) => Some(mail.line(true)),
            Ok(Command::Rcpt(rcpt)) => Some(rcpt.line()),
            _ => None,
        };
        if let Some(written) = written {
            assert!(!written.chars().any(char::is_control), "{written:?}");
            let again = match Command::parse(written.as_bytes()) {
                Ok(Command::Mail(mail)) => mail.line(true),
                Ok(Command::Rcpt(rcpt)) => rcpt.line(),
                other => panic!("{written:?} became {other:?}"),
            };
            assert_eq!(again, written);
        }
        if let Ok(Some(reply)) = reader.take(&line) {
            Extensions::of_reply(&reply);
            let mut out = Vec::new();
            reply.enhanced().write(&mut out);
            let ends = out.windows(2).filter(|pair| *pair == b"\r\n").count();
            assert_eq!(out.iter().filter(|octet| matches!(octet, b'\r' | b'\n')).count(), 2 * ends);
        }
    }
});
