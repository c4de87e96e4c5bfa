//! Names in columns, as many as the screen has room for.

/// Between columns.
const GAP: usize = 2;
/// A column has this much at least.
const COLUMN_MIN: usize = 4;

/// What `ls` prints of files and of directories with what is in them. Without a screen there is one name a line.
pub(super) fn listing(
    files: &[String],
    directories: &[(String, Vec<String>)],
    screen: Option<usize>,
) -> String {
    let mut out = columns(files, screen);
    let are_named = !files.is_empty() || directories.len() > 1;
    for (at, (name, children)) in directories.iter().enumerate() {
        if children.is_empty() {
            continue;
        }
        if are_named {
            // Also behind one of which nothing is printed, as it is empty.
            let gap = if at > 0 || !files.is_empty() { "\n" } else { "" };
            out.push_str(&format!("{gap}{name}:\n"));
        }
        out.push_str(&columns(children, screen));
    }
    out
}

fn columns(names: &[String], screen: Option<usize>) -> String {
    let most = screen.map_or(1, |width| width / COLUMN_MIN).max(1);
    let fits = |count: &usize| {
        let widths = widths(names, *count);
        widths.len() == *count && widths.iter().sum::<usize>() <= screen.unwrap_or(0)
    };
    let count = (2..=most.min(names.len())).rev().find(fits).unwrap_or(1);
    let (rows, widths) = (names.len().div_ceil(count), widths(names, count));
    let mut out = String::new();
    for row in 0..rows {
        for (column, width) in widths.iter().enumerate() {
            let Some(name) = names.get(row + column * rows) else { continue };
            let is_last = column + 1 == count;
            out.push_str(&if is_last { name.clone() } else { format!("{name:width$}") });
        }
        out.push('\n');
    }
    out
}

/// Of columns that are filled one after the other; those that stay empty have none.
fn widths(names: &[String], count: usize) -> Vec<usize> {
    let rows = names.len().div_ceil(count).max(1);
    let width = |names: &[String]| names.iter().map(|name| name.chars().count() + GAP).max().unwrap_or(0);
    names.chunks(rows).map(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn names_stand_in_columns() {
        let seven = names("one two three four five six seven");
        assert_eq!(columns(&seven, None), "one\ntwo\nthree\nfour\nfive\nsix\nseven\n");
        assert_eq!(columns(&seven, Some(20)), "one    four  seven\ntwo    five  \nthree  six   \n");
        assert_eq!(columns(&seven, Some(14)), "one    five\ntwo    six\nthree  seven\nfour   \n");
        assert_eq!(columns(&seven, Some(80)), "one  two  three  four  five  six  seven\n");
        assert_eq!(columns(&seven, Some(3)), columns(&seven, None));
        assert_eq!(columns(&[], Some(80)), "");
    }

    #[test]
    fn directories_are_named_where_there_are_several() {
        let directory = |name: &str, children: &str| (name.to_owned(), names(children));
        assert_eq!(listing(&[], &[directory("d", "a b")], None), "a\nb\n");
        assert_eq!(listing(&[], &[directory("d", "a"), directory("e", "b")], None), "d:\na\n\ne:\nb\n");
        assert_eq!(listing(&names("f"), &[directory("d", "a")], None), "f\n\nd:\na\n");
        assert_eq!(listing(&names("f"), &[directory("d", "")], None), "f\n");
    }
}
