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
