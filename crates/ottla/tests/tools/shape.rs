//! The form of what is printed: what stays when it is printed again at another time.

/// Each run of digits is one sign, and lines that are alike in a row are one line.
pub fn shape(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(of_line).collect();
    lines.dedup();
    lines.join("\n")
}

fn of_line(line: &str) -> String {
    let mut shape = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            c => shape.push(c),
        }
    }
    shape
}

#[test]
fn times_and_rates_have_no_part_in_it() {
    let text = "12 records sent, 1.25 a second\n7 records sent, 22.5 a second\n\n2026-01-02 03:04\n";
    assert_eq!(shape(text), "# records sent, #.# a second\n\n#-#-# #:#");
}
