//! Tables for people. Pure.

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use super::cell::{Cell, Tone};
use super::listing::{Details, Head, Listing};

/// How people see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    pub is_wide: bool,
    pub has_heads: bool,
    pub is_coloured: bool,
}

const BETWEEN: &str = "  ";

pub fn table(listing: &Listing, look: Look) -> String {
    let shown: Vec<usize> =
        (0..listing.heads.len()).filter(|&at| is_shown(listing.heads.get(at), look)).collect();
    let cells = |row: &[Cell]| -> Vec<String> {
        shown.iter().filter_map(|&at| row.get(at)).map(Cell::shown).collect()
    };
    let heads: Vec<String> = shown.iter().filter_map(|&at| listing.heads.get(at)).map(head).collect();
    let texts: Vec<Vec<String>> = listing.rows.iter().map(|row| cells(row)).collect();
    let mut text = String::new();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| {
            let of_head = if look.has_heads { head.width() } else { 0 };
            texts.iter().filter_map(|row| row.get(at)).map(|cell| cell.width()).fold(of_head, usize::max)
        })
        .collect();
    // The heads of numbers stand above them.
    let is_right: Vec<bool> = shown.iter().map(|&at| is_numeric(listing, at)).collect();
    if look.has_heads {
        let styles = vec![Style::new().bold(); heads.len()];
        line(&mut text, &heads, &widths, &is_right, &styles, look);
    }
    for (row, cells) in listing.rows.iter().zip(&texts) {
        let styles: Vec<Style> =
            shown.iter().filter_map(|&at| row.get(at)).map(|cell| style(cell.tone())).collect();
        line(&mut text, cells, &widths, &is_right, &styles, look);
    }
    text
}

/// One line of a table whose later rows aren't known yet: columns have a width in advance, and may be wider.
pub fn line_of(texts: &[String], widths: &[usize], is_right: &[bool], is_head: bool, look: Look) -> String {
    let mut text = String::new();
    let style = if is_head { Style::new().bold() } else { Style::new() };
    line(&mut text, texts, widths, is_right, &vec![style; texts.len()], look);
    text
}

fn line(
    text: &mut String,
    cells: &[String],
    widths: &[usize],
    is_right: &[bool],
    styles: &[Style],
    look: Look,
) {
    let last = cells.len().saturating_sub(1);
    for (at, cell) in cells.iter().enumerate() {
        let padding = " ".repeat(widths.get(at).copied().unwrap_or_default().saturating_sub(cell.width()));
        let is_right = is_right.get(at).copied().unwrap_or_default();
        let style = styles.get(at).copied().unwrap_or_default();
        if is_right {
            text.push_str(&padding);
        }
        text.push_str(&painted(cell, style, look));
        if at < last {
            if !is_right {
                text.push_str(&padding);
            }
            text.push_str(BETWEEN);
        }
    }
    text.push('\n');
}

fn is_shown(head: Option<&Head>, look: Look) -> bool {
    head.is_some_and(|head| look.is_wide || !head.is_wide)
}

fn is_numeric(listing: &Listing, at: usize) -> bool {
    let mut cells =
        listing.rows.iter().filter_map(|row| row.get(at)).filter(|cell| **cell != Cell::Nothing).peekable();
    cells.peek().is_some() && cells.all(Cell::is_numeric)
}

/// `lag_seconds` is `LAG SECONDS` to people.
pub fn head(head: &Head) -> String {
    head.name.replace('_', "-").to_uppercase()
}

/// Each thing with its fields, one a line, and its lists.
pub fn details(of: &[Details], look: Look) -> String {
    let mut text = String::new();
    for (place, details) in of.iter().enumerate() {
        if place > 0 {
            text.push('\n');
        }
        text.push_str(&fields(&details.fields, look));
        for (name, listing) in &details.sections {
            let title = format!("{} ({})", name.replace('_', " "), listing.rows.len());
            text.push_str(&format!("\n{}\n", painted(&title, Style::new().bold(), look)));
            if !listing.rows.is_empty() {
                text.push_str(&indented(&table(listing, look)));
            }
        }
    }
    text
}

fn fields(listing: &Listing, look: Look) -> String {
    let Some(row) = listing.rows.first() else { return String::new() };
    let shown: Vec<(&Head, &Cell)> =
        listing.heads.iter().zip(row).filter(|(head, _)| is_shown(Some(head), look)).collect();
    let width = shown.iter().map(|(head, _)| head.name.len()).max().unwrap_or_default();
    let line = |(head, cell): &(&Head, &Cell)| {
        let name = format!("{:width$}", head.name.replace('_', " "));
        format!(
            "{}{BETWEEN}{}\n",
            painted(&name, Style::new().bold(), look),
            painted(&cell.shown(), style(cell.tone()), look)
        )
    };
    shown.iter().map(line).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("{BETWEEN}{line}\n")).collect()
}

fn style(tone: Option<Tone>) -> Style {
    match tone {
        None => Style::new(),
        Some(Tone::Good) => AnsiColor::Green.on_default(),
        Some(Tone::Warning) => AnsiColor::Yellow.on_default(),
        Some(Tone::Bad) => AnsiColor::Red.on_default(),
    }
}

fn painted(text: &str, style: Style, look: Look) -> String {
    if !look.is_coloured || style.is_plain() {
        return text.to_owned();
    }
    format!("{style}{text}{style:#}")
}
