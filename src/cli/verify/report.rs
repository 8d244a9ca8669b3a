//! Where findings go: to the terminal as they come, and into a report that is there when it is whole.

use std::fmt::Display;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

use super::html;
use crate::admin::commands::Verified;
use crate::cli::{Failure, report};
use crate::ferry::verify::{Difference, Totals};

/// What is told, and where.
pub(super) struct Report {
    json: Option<Json>,
    file: Option<File>,
    mailboxes: Vec<Totals>,
}

struct File {
    path: PathBuf,
    format: Format,
}

enum Format {
    Csv(Box<csv::Writer<NamedTempFile>>),
    Json(Json),
    Html(BufWriter<NamedTempFile>),
}

/// One JSON object, its differences written as they come.
struct Json {
    out: Out,
    any: bool,
}

enum Out {
    Terminal,
    File(BufWriter<NamedTempFile>),
}

/// What is behind the differences.
#[derive(Serialize)]
struct Rest<'a> {
    mailboxes: &'a [Totals],
    result: Whole<'a>,
}

#[derive(Serialize)]
struct Whole<'a> {
    deep: bool,
    is_clean: bool,
    #[serde(flatten)]
    verified: &'a Verified,
}

impl Report {
    /// Nothing yet. The file is not touched before the report is whole.
    pub(super) fn new(path: Option<&Path>, json: bool) -> Result<Report, Failure> {
        let json = json.then(|| Json::begin(Out::Terminal)).transpose()?;
        let file = match path {
            None => None,
            Some(path) => {
                let format = Format::of(path)?;
                Some(File { path: path.to_owned(), format })
            }
        };
        Ok(Report { json, file, mailboxes: Vec::new() })
    }

    /// A message is not as it should be.
    pub(super) fn difference(&mut self, difference: &Difference) -> Result<(), Failure> {
        match &mut self.json {
            Some(json) => json.difference(difference)?,
            None => report::print(&Line(difference))?,
        }
        let Some(File { path, format }) = &mut self.file else { return Ok(()) };
        let written = match format {
            Format::Csv(out) => out.serialize(difference).map_err(Failure::failed),
            Format::Json(json) => json.difference(difference),
            Format::Html(out) => html::difference(out, difference).map_err(Failure::failed),
        };
        written.map_err(|e| e.next(format!("is there room for {}?", path.display())))
    }

    /// A mailbox is done.
    pub(super) fn mailbox(&mut self, totals: &Totals) -> Result<(), Failure> {
        if self.json.is_none() {
            report::print(&Sum(totals))?;
        }
        self.mailboxes.push(totals.clone());
        Ok(())
    }

    /// All is done.
    pub(super) fn end(self, verified: &Verified, deep: bool) -> Result<(), Failure> {
        let rest = Rest {
            mailboxes: &self.mailboxes,
            result: Whole { deep, is_clean: verified.is_clean(), verified },
        };
        match self.json {
            Some(json) => drop(json.end(&rest)?),
            None => report::print(&Outcome(verified))?,
        }
        let Some(File { path, format }) = self.file else { return Ok(()) };
        let written = match format {
            Format::Csv(out) => out.into_inner().map_err(|e| Failure::failed(e.to_string()))?,
            Format::Json(json) => match json.end(&rest)? {
                Out::File(out) => whole(out)?,
                Out::Terminal => return Ok(()),
            },
            Format::Html(out) => {
                let mut rows = whole(out)?;
                rows.seek(SeekFrom::Start(0)).map_err(Failure::failed)?;
                let mut page = BufWriter::new(beside(&path)?);
                html::page(&mut page, &self.mailboxes, verified, deep, rows.as_file_mut())
                    .map_err(Failure::failed)?;
                whole(page)?
            }
        };
        written.persist(&path).map_err(|e| {
            Failure::failed(format!("the report {} cannot be written: {}", path.display(), e.error))
        })?;
        Ok(())
    }
}

fn whole(out: BufWriter<NamedTempFile>) -> Result<NamedTempFile, Failure> {
    out.into_inner().map_err(|e| Failure::failed(format!("the report: {}", e.error())))
}

/// A file beside the one that it becomes.
fn beside(path: &Path) -> Result<NamedTempFile, Failure> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    NamedTempFile::new_in(dir).map_err(|e| {
        Failure::failed(format!("the report {} cannot be written: {e}", path.display()))
    })
}

impl Format {
    fn of(path: &Path) -> Result<Format, Failure> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => {
                let mut out =
                    csv::WriterBuilder::new().has_headers(false).from_writer(beside(path)?);
                // Also where there is no difference to follow.
                out.write_record(Difference::COLUMNS).map_err(Failure::failed)?;
                Ok(Format::Csv(Box::new(out)))
            }
            Some("json") => {
                Ok(Format::Json(Json::begin(Out::File(BufWriter::new(beside(path)?)))?))
            }
            Some("html") => Ok(Format::Html(BufWriter::new(beside(path)?))),
            _ => Err(Failure::usage(format!("what shall {} be?", path.display()))
                .next("let the report's name end in .csv, .json or .html")),
        }
    }
}

impl Out {
    fn write(&mut self, text: &impl Display) -> Result<(), Failure> {
        match self {
            Out::Terminal => report::print(text),
            Out::File(file) => write!(file, "{text}").map_err(Failure::failed),
        }
    }
}

impl Json {
    fn begin(mut out: Out) -> Result<Json, Failure> {
        out.write(&"{\"differences\":[")?;
        Ok(Json { out, any: false })
    }

    fn difference(&mut self, difference: &Difference) -> Result<(), Failure> {
        let comma = if std::mem::replace(&mut self.any, true) { "," } else { "" };
        let text = serde_json::to_string(difference).map_err(Failure::failed)?;
        self.out.write(&format_args!("{comma}\n{text}"))
    }

    fn end(mut self, rest: &Rest<'_>) -> Result<Out, Failure> {
        let text = serde_json::to_string(rest).map_err(Failure::failed)?;
        let text = text.strip_prefix('{').unwrap_or_default();
        self.out.write(&format_args!("\n],\n{text}\n"))?;
        Ok(self.out)
    }
}

/// A difference on one line.
struct Line<'a>(&'a Difference);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference { account, mailbox, kind, uid, old_uid, new_uid, .. } = self.0;
        let mark = if self.0.ignored { " (not counted)" } else { "" };
        write!(f, "{account} {mailbox}: {}{mark}:", kind.name())?;
        for (what, uid) in [("uid", uid), ("old", old_uid), ("new", new_uid)] {
            if let Some(uid) = uid {
                write!(f, " {what} {uid}")?;
            }
        }
        for part in [&self.0.message_id, &self.0.date].into_iter().flatten() {
            write!(f, "  {part}")?;
        }
        if let Some(subject) = &self.0.subject {
            write!(f, "  \"{subject}\"")?;
        }
        writeln!(f, "\n    {}", self.0.detail)
    }
}

/// A mailbox on one line.
struct Sum<'a>(&'a Totals);

impl Display for Sum<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let t = self.0;
        let state = if t.clean { "ok  " } else { "DIFF" };
        write!(
            f,
            "{state} {} {}: {} on old, {} on new, {} compared",
            t.account, t.mailbox, t.old, t.new, t.compared
        )?;
        for (n, what) in [
            (t.missing, "missing"),
            (t.different, "different"),
            (t.flags, "with other flags"),
            (t.dates, "with another date"),
            (t.extra, "extra"),
            (t.altered, "altered by a server or tool"),
            (t.only_new, "on new alone"),
            (t.removed, "removed by their user"),
        ] {
            if n > 0 {
                write!(f, ", {n} {what}")?;
            }
        }
        match &t.failed {
            Some(why) => writeln!(f, "\n    not verified: {why}"),
            None => writeln!(f),
        }
    }
}

/// How it ended.
struct Outcome<'a>(&'a Verified);

impl Display for Outcome<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for name in &self.0.clean {
            writeln!(f, "{name}: verified, no differences")?;
        }
        for name in &self.0.differing {
            writeln!(f, "{name}: NOT verified, there are differences")?;
        }
        for (name, why) in &self.0.failed {
            writeln!(f, "{name}: NOT verified: {why}")?;
        }
        Ok(())
    }
}
