//! Tables: cells padded to the widest of their column.

use crate::tool::{Failure, Output};

/// Of each column.
fn widths(rows: &[&[String]]) -> Vec<usize> {
    let columns = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (0..columns).map(widest).collect()
}

/// As Kafka's newer tools print: each cell padded and followed by a tab.
pub(crate) fn print_tabbed(
    header: &[&str],
    rows: &[Vec<String>],
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let all: Vec<&[String]> =
        std::iter::once(header.as_slice()).chain(rows.iter().map(Vec::as_slice)).collect();
    let widths = widths(&all);
    for row in all {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}\t"));
        output.line(cells.collect::<String>())?;
    }
    Ok(())
}

/// A column of [`Columns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// Whatever is in it.
    Fixed(usize),
    /// As wide as its widest value, and at least so wide; the header doesn't count.
    AtLeast(usize),
}

/// As Kafka's tools of groups print: a blank between padded cells, and an empty line in front.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    pub(crate) header: Vec<&'static str>,
    /// The last column may have none: it isn't padded.
    pub(crate) widths: Vec<Width>,
}

impl Columns {
    pub(crate) fn lines(&self, rows: &[Vec<String>]) -> Vec<String> {
        let widest = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let width = |(column, width): (usize, &Width)| match *width {
            Width::Fixed(width) => width,
            Width::AtLeast(least) => least.max(widest(column)),
        };
        let widths: Vec<usize> = self.widths.iter().enumerate().map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells
                .enumerate()
                .map(|(column, cell)| {
                    let width = widths.get(column).copied().unwrap_or(0);
                    format!("{cell:width$}")
                })
                .collect();
            padded.join(" ")
        };
        let header = line(&mut self.header.iter().copied());
        let rows = rows.iter().map(|row| line(&mut row.iter().map(String::as_str)));
        std::iter::once(header).chain(rows).collect()
    }

    /// Behind an empty line.
    pub(crate) fn print(&self, rows: &[Vec<String>], output: &mut Output<'_>) -> Result<(), Failure> {
        output.line("")?;
        self.print_at_once(rows, output)
    }

    /// Without an empty line in front.
    pub(crate) fn print_at_once(&self, rows: &[Vec<String>], output: &mut Output<'_>) -> Result<(), Failure> {
        self.lines(rows).into_iter().try_for_each(|line| output.line(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must() {
        let columns =
            Columns { header: vec!["A", "BBBBBB", "C"], widths: vec![Width::AtLeast(3), Width::Fixed(2)] };
        let rows = [vec!["12345".to_owned(), "x".to_owned(), "y".to_owned()]];
        assert_eq!(columns.lines(&rows), ["A     BBBBBB C", "12345 x  y"]);
    }
}
