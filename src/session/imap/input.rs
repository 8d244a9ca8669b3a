//! From the client's pieces to whole commands; an APPEND's messages stay in the socket.

use super::Session;
use crate::imap::command::{
    AppendParse, Command, ParseError, Tag, Tagged, TaggedAppend, parse, parse_append_head,
};
use crate::imap::framer::{Literal, Piece};
use crate::session::client::ClientError;

/// What a client sent.
pub enum Input {
    /// A command.
    Command(Tagged),
    /// An APPEND, whose messages follow.
    Append(TaggedAppend),
    /// Something that is no command, and how it is answered.
    Refused(Option<Tag>, String),
}

impl Session {
    /// Reads the next command.
    ///
    /// Dropped only when the session ends: a half-read command is not kept.
    pub(super) async fn input(&mut self) -> Result<Input, ClientError> {
        let spelling = self.extended.spelling();
        let mut line: Vec<u8> = Vec::new();
        let mut too_long = false;
        loop {
            match self.client.piece().await? {
                Piece::Line(_) if too_long => {
                    return Ok(Input::Refused(tag_of(&line), "BAD Command is too long".into()));
                }
                Piece::Line(text) => {
                    line.extend_from_slice(&text);
                    return Ok(match parse(&line).and_then(|tagged| tagged.spelled(spelling)) {
                        Ok(Tagged { tag, command: Command::Append(head) }) => {
                            Input::Append(TaggedAppend { tag, head })
                        }
                        Ok(tagged) => Input::Command(tagged),
                        Err(e) => refused(&e),
                    });
                }
                Piece::Chunk { octets, .. } if !too_long => line.extend_from_slice(&octets),
                Piece::Chunk { .. } => {}
                // Of a command that is too long nothing more is kept, however it goes on.
                Piece::Head { literal, .. } if too_long && literal.sync => {
                    self.client.forget_literal();
                    let text = "BAD [TOOBIG] Command is too long".to_owned();
                    return Ok(Input::Refused(tag_of(&line), text));
                }
                Piece::Head { .. } if too_long => {}
                Piece::Head { text, literal } => {
                    line.extend_from_slice(&text);
                    let append = if self.user.is_some() {
                        parse_append_head(&line).spelled(spelling)
                    } else {
                        AppendParse::NotAppend
                    };
                    match append {
                        AppendParse::Head(append) => return Ok(Input::Append(append)),
                        AppendParse::Bad(e) => {
                            self.skip_literal(literal).await?;
                            if !literal.sync {
                                self.skip_line().await?;
                            }
                            return Ok(refused(&e));
                        }
                        AppendParse::NotAppend | AppendParse::NeedMore => {}
                    }
                    line.extend_from_slice(b"\r\n");
                    if line.len() as u64 + literal.octets > self.most_octets() {
                        if literal.sync {
                            self.skip_literal(literal).await?;
                            let text = "BAD [TOOBIG] Command is too long".to_owned();
                            return Ok(Input::Refused(tag_of(&line), text));
                        }
                        too_long = true;
                    } else if literal.sync {
                        self.client.line("+ Ready for literal data");
                        self.client.flush().await?;
                    }
                }
            }
        }
    }

    fn most_octets(&self) -> u64 {
        let limits = &self.server.config.limits;
        match self.user {
            Some(_) => limits.command,
            None => limits.literal_before_login,
        }
    }

    /// Passes over a literal that was announced and is not wanted. A synchronizing one has not
    /// been sent yet and never will be: the command ends with our answer.
    pub(super) async fn skip_literal(&mut self, literal: Literal) -> Result<(), ClientError> {
        if literal.sync {
            self.client.forget_literal();
            return Ok(());
        }
        while let Piece::Chunk { last, .. } = self.client.piece().await? {
            if last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Passes over the rest of a command's line.
    pub(super) async fn skip_line(&mut self) -> Result<(), ClientError> {
        loop {
            match self.client.piece().await? {
                Piece::Line(_) => return Ok(()),
                Piece::Head { literal, .. } if literal.sync => {
                    self.client.forget_literal();
                    return Ok(());
                }
                Piece::Head { .. } | Piece::Chunk { .. } => {}
            }
        }
    }
}

fn refused(e: &ParseError) -> Input {
    Input::Refused(e.tag.clone(), format!("{} {e}", e.status()))
}

fn tag_of(line: &[u8]) -> Option<Tag> {
    Tag::new(line.split(|b| *b == b' ').next()?)
}
