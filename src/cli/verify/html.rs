//! The report as one page that needs nothing else, and prints well.

use std::fmt;
use std::io::{self, Read, Write};

use crate::account::now;
use crate::admin::commands::Verified;
use crate::ferry::verify::{Difference, Totals};

/// A row of the table of differences.
pub(super) fn difference(out: &mut impl Write, difference: &Difference) -> io::Result<()> {
    let number = |uid: Option<u32>| uid.map_or(String::new(), |uid| uid.to_string());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let class = if difference.ignored { " class=let" } else { "" };
    write!(out, "<tr{class}>")?;
    for cell in [
        difference.account.clone(),
        difference.mailbox.clone(),
        difference.kind.name().to_owned(),
        number(difference.uid),
        number(difference.old_uid),
        number(difference.new_uid),
        text(&difference.date),
        text(&difference.subject),
        text(&difference.message_id),
        difference.detail.clone(),
    ] {
        write!(out, "<td>{}", Escaped(&cell))?;
    }
    writeln!(out)
}

/// The page; `rows` are those of [`difference`], from their beginning.
pub(super) fn page(
    out: &mut impl Write,
    mailboxes: &[Totals],
    verified: &Verified,
    deep: bool,
    rows: &mut impl Read,
) -> io::Result<()> {
    let verdict = if verified.is_clean() { "No differences" } else { "Differences" };
    let when = time::OffsetDateTime::from_unix_timestamp(i64::try_from(now()).unwrap_or(0));
    let when = when.map_or(String::new(), |when| {
        format!("{} {:02}:{:02} UTC", when.date(), when.hour(), when.minute())
    });
    let how = match deep {
        true => "size, content, flags and date of every message",
        false => "size, flags and date of every message",
    };
    writeln!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8><title>Mailferry: {verdict}</title>\
         <style>{STYLE}</style>\n<h1>{verdict}</h1>\n<p>Verified by Mailferry {} at {when}: {how} \
         on both servers.</p>",
        env!("CARGO_PKG_VERSION")
    )?;
    for (class, names) in [("ok", &verified.clean), ("bad", &verified.differing)] {
        if !names.is_empty() {
            let what = if class == "ok" { "Verified" } else { "With differences" };
            writeln!(out, "<p class={class}>{what}: {}</p>", Escaped(&names.join(", ")))?;
        }
    }
    for (name, why) in &verified.failed {
        writeln!(out, "<p class=bad>Not verified: {}: {}</p>", Escaped(name), Escaped(why))?;
    }
    writeln!(out, "<h2>Mailboxes</h2>\n<table><thead><tr>")?;
    for head in [
        "Account",
        "Mailbox",
        "On old",
        "On new",
        "Compared",
        "Octets",
        "Missing",
        "Different",
        "Flags",
        "Date",
        "Extra",
        "Altered",
        "On new alone",
        "Removed by user",
        "",
    ] {
        write!(out, "<th>{head}")?;
    }
    writeln!(out, "</thead>")?;
    let mut sum = Totals { mailbox: format!("{} mailboxes", mailboxes.len()), ..Totals::default() };
    for totals in mailboxes {
        row(
            out,
            totals,
            totals.failed.as_deref().unwrap_or(if totals.clean { "ok" } else { "differs" }),
        )?;
        add(&mut sum, totals);
    }
    write!(out, "<tfoot>")?;
    row(out, &sum, "")?;
    writeln!(
        out,
        "</tfoot></table>\n<h2>Differences</h2>\n<table><thead><tr><th>Account<th>Mailbox<th>What\
         <th>UID<th>on old<th>on new<th>Date<th>Subject<th>Message-ID<th>Detail</thead>"
    )?;
    io::copy(rows, out)?;
    writeln!(
        out,
        "</table>\n<p class=note>Grey rows were not counted. “Altered” copies differ only in line \
         ends, or in a header that a copying tool added. “Removed by user” lies on old only \
         because its user deleted or moved it.</p>\n</html>"
    )
}

fn row(out: &mut impl Write, t: &Totals, state: &str) -> io::Result<()> {
    write!(out, "<tr><td>{}<td>{}", Escaped(&t.account), Escaped(&t.mailbox))?;
    for n in [
        t.old,
        t.new,
        t.compared,
        t.octets,
        t.missing,
        t.different,
        t.flags,
        t.dates,
        t.extra,
        t.altered,
        t.only_new,
        t.removed,
    ] {
        write!(out, "<td class=n>{n}")?;
    }
    writeln!(out, "<td>{}", Escaped(state))
}

fn add(sum: &mut Totals, t: &Totals) {
    sum.old += t.old;
    sum.new += t.new;
    sum.compared += t.compared;
    sum.octets += t.octets;
    sum.missing += t.missing;
    sum.different += t.different;
    sum.flags += t.flags;
    sum.dates += t.dates;
    sum.extra += t.extra;
    sum.altered += t.altered;
    sum.only_new += t.only_new;
    sum.removed += t.removed;
}

/// Text that is nothing but text on a page.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#111}\
table{border-collapse:collapse;margin:1em 0;width:100%}\
th,td{border-bottom:1px solid #ccc;padding:.25em .5em;text-align:left;vertical-align:top;\
overflow-wrap:anywhere}\
th{border-bottom:2px solid #111}tfoot td{border-top:2px solid #111;font-weight:bold}\
.n{text-align:right;font-variant-numeric:tabular-nums}.ok{color:#060}.bad{color:#a00}\
.let td{color:#777}.note{color:#555}\
@page{size:A4 landscape;margin:12mm}\
@media print{body{margin:0;font-size:9px}thead{display:table-header-group}tr{break-inside:avoid}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_says_is_no_markup() {
        let text = Escaped("<script>alert(\"x\" & 'y')</script>").to_string();
        assert_eq!(text, "&lt;script&gt;alert(&quot;x&quot; &amp; 'y')&lt;/script&gt;");
    }
}
