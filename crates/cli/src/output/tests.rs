use expect_test::{Expect, expect};

use super::cell::Cell;
use super::listing::{Column, Details, Listing, column, wide};
use super::table::{self, Look};
use super::*;

struct Pet {
    name: &'static str,
    legs: i64,
    born: i64,
}

const COLUMNS: &[Column<Pet>] = &[
    column("name", |pet| Cell::text(pet.name)),
    column("leg_count", |pet| Cell::number(pet.legs).toned((pet.legs < 4).then_some(Tone::Warning))),
    wide("born", |pet| Cell::Time(pet.born)),
];

fn pets() -> [Pet; 2] {
    [Pet { name: "Ä", legs: 3, born: 0 }, Pet { name: "12", legs: 100, born: 1 }]
}

fn printed(format: Format, print: impl FnOnce(&mut Printer)) -> String {
    use std::sync::{Arc, Mutex};
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let out = Shared::default();
    print(&mut Printer::new(Box::new(out.clone()), format, true, false));
    let bytes = out.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[track_caller]
fn check(format: Format, expected: Expect) {
    let listing = Listing::of(COLUMNS, &pets());
    let all = printed(format, |printer| printer.listing(&listing).unwrap());
    expected.assert_eq(&all);
    // Rows that come one by one make the same document for programs.
    let streamed = printed(format, |printer| {
        let mut stream = printer.stream(COLUMNS, &[4, 9]);
        printer.text(&stream.begin()).unwrap();
        for pet in pets() {
            let row = stream.row(&pet).unwrap();
            printer.text(&row).unwrap();
        }
        printer.text(&stream.end()).unwrap();
    });
    match format {
        Format::Json => {
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(value(&streamed), value(&all));
        }
        Format::Jsonl | Format::Yaml => assert_eq!(streamed, all),
        Format::Table | Format::Wide => assert_eq!(streamed.lines().count(), all.lines().count()),
    }
}

#[test]
fn one_row_has_five_formats() {
    check(
        Format::Table,
        expect![[r#"
            NAME  LEG-COUNT
            Ä             3
            12          100
        "#]],
    );
    check(
        Format::Wide,
        expect![[r#"
            NAME  LEG-COUNT  BORN
            Ä             3  1970-01-01T00:00:00.000Z
            12          100  1970-01-01T00:00:00.001Z
        "#]],
    );
    check(
        Format::Json,
        expect![[r#"
            [
              {
                "name": "Ä",
                "leg_count": 3,
                "born": "1970-01-01T00:00:00.000Z"
              },
              {
                "name": "12",
                "leg_count": 100,
                "born": "1970-01-01T00:00:00.001Z"
              }
            ]
        "#]],
    );
    check(
        Format::Jsonl,
        expect![[r#"
            {"name":"Ä","leg_count":3,"born":"1970-01-01T00:00:00.000Z"}
            {"name":"12","leg_count":100,"born":"1970-01-01T00:00:00.001Z"}
        "#]],
    );
    check(
        Format::Yaml,
        expect![[r#"
            - name: Ä
              leg_count: 3
              born: "1970-01-01T00:00:00.000Z"
            - name: "12"
              leg_count: 100
              born: "1970-01-01T00:00:00.001Z"
        "#]],
    );
}

#[test]
fn nothing_is_a_document_too() {
    let none = Listing::of(COLUMNS, &[]);
    for (format, expected) in [
        (Format::Table, "NAME  LEG-COUNT\n"),
        (Format::Json, "[]\n"),
        (Format::Jsonl, ""),
        (Format::Yaml, "[]\n"),
    ] {
        assert_eq!(printed(format, |printer| printer.listing(&none).unwrap()), expected, "{format:?}");
        let streamed = printed(format, |printer| {
            let stream = printer.stream(COLUMNS, &[4]);
            printer.text(&stream.begin()).unwrap();
            printer.text(&stream.end()).unwrap();
        });
        assert_eq!(streamed, expected, "{format:?}");
    }
}

#[test]
fn details_have_fields_and_lists() {
    let [one, other] = pets();
    let details = Details::of(COLUMNS, &one).section("friends", Listing::of(COLUMNS, [&other]));
    let shown = printed(Format::Table, |printer| printer.details(std::slice::from_ref(&details)).unwrap());
    expect![[r#"
        name       Ä
        leg count  3

        friends (1)
          NAME  LEG-COUNT
          12          100
    "#]]
    .assert_eq(&shown);
    let shown = printed(Format::Jsonl, |printer| printer.details(&[details]).unwrap());
    expect![[r#"
        {"name":"Ä","leg_count":3,"born":"1970-01-01T00:00:00.000Z","friends":[{"name":"12","leg_count":100,"born":"1970-01-01T00:00:00.001Z"}]}
    "#]]
    .assert_eq(&shown);
}

#[test]
fn colours_are_there_where_they_are_wanted() {
    let listing = Listing::of(COLUMNS, &pets());
    let look = Look { is_wide: false, has_heads: false, is_coloured: true };
    assert_eq!(
        table::table(&listing, look),
        "Ä   \u{1b}[33m  3\u{1b}[0m\n12  100\n".replace("\u{1b}[33m  3", "  \u{1b}[33m3")
    );
}
