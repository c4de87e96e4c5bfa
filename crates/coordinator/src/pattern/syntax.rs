//! A pattern's text as the structure that is compiled. What that takes is added up before it is done: a class of two letters
//! (`\pL`) stands for hundreds of ranges, and one that ignores case goes through each character that it has.

use std::borrow::Cow;

use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{
    Assertion, Ast, ClassAscii, ClassAsciiKind, ClassBracketed, ClassPerl, ClassPerlKind, ClassSet,
    ClassSetBinaryOp, ClassSetItem, Flag, Flags, FlagsItem, FlagsItemKind, Group, GroupKind,
};
use regex_syntax::hir::translate::Translator;
use regex_syntax::hir::{Hir, Look};

use super::PatternError;
use super::effort::Effort;

/// How long a pattern may be, in bytes.
pub(super) const PATTERN_BYTES_MAX: usize = 1 << 15;
/// How deep groups, repetitions and classes may be in each other.
const NESTING_MAX: u32 = 250;
/// How many ranges of characters all classes of a pattern may have together: more would not fit into the size that a
/// compiled one may have.
const RANGES_MAX: usize = 1 << 16;
/// How many ranges may be copied and characters looked at while classes are put together.
const STEPS_MAX: usize = 1 << 22;
/// More than any class of Unicode's has.
const UNICODE_RANGES: usize = 1_000;
/// How many characters there are.
const CHARS: usize = 0x11_0000;
/// How many characters one may stand for where case is ignored.
const CASES: usize = 4;
/// More than there are characters that have another case.
const CASED_CHARS: usize = 3_000;

/// What a pattern matches, from a name's beginning to its end.
pub(super) fn parse(pattern: &str, effort: &mut Effort) -> Result<Hir, PatternError> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(PatternError::TooLong);
    }
    effort.spend_on_text(pattern.len())?;
    // Without the pattern, which who has sent it knows.
    let failed = |kind: &dyn std::fmt::Display| PatternError::Syntax(kind.to_string());
    let text = unquoted(pattern);
    let mut parser = ParserBuilder::new().nest_limit(NESTING_MAX).build();
    let mut ast = parser.parse(&text).map_err(|error| failed(error.kind()))?;
    Reader::default().pattern(&mut ast, effort)?;
    let parsed = Translator::new().translate(&text, &ast).map_err(|error| failed(error.kind()))?;
    // Anchored as parsed, not as text: what stands in the pattern can't reach beyond it.
    Ok(Hir::concat(vec![Hir::look(Look::Start), parsed, Hir::look(Look::End)]))
}

/// The pattern with what stands between `\Q` and `\E` escaped one by one, as Java's `Pattern.quote` writes it.
fn unquoted(pattern: &str) -> Cow<'_, str> {
    if !pattern.contains(r"\Q") {
        return Cow::Borrowed(pattern);
    }
    let mut plain = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        if let Some(quoted) = after.strip_prefix('Q') {
            let (text, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            plain.push_str(&regex_syntax::escape(text));
            rest = after;
        } else {
            let next = after.chars().next();
            plain.push('\\');
            plain.extend(next);
            rest = after.get(next.map_or(0, char::len_utf8)..).unwrap_or_default();
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// At most so much is in a class.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    ranges: usize,
    chars: usize,
}

impl Extent {
    const UNICODE: Extent = Extent { ranges: UNICODE_RANGES, chars: CHARS };

    fn new(ranges: usize, chars: usize) -> Extent {
        Extent { ranges, chars: chars.min(CHARS) }
    }

    fn and(self, other: Extent) -> Extent {
        Extent::new(self.ranges + other.ranges, self.chars + other.chars)
    }

    fn negated(self, negated: bool) -> Extent {
        if negated { Extent::new(self.ranges + 1, CHARS) } else { self }
    }
}

/// Goes through a pattern before it is translated: adds up what that will take, and makes `\d`, `\s`, `\w` and `\b` those of
/// ASCII, as they are in RE2/J. It goes as deep as [`NESTING_MAX`], which the parser has seen to.
#[derive(Debug, Default)]
struct Reader {
    /// Of the classes that the pattern is made of.
    ranges: usize,
    steps: usize,
    /// The same where case is ignored.
    folding_steps: usize,
    ignores_case: bool,
}

impl Reader {
    fn pattern(mut self, ast: &mut Ast, effort: &mut Effort) -> Result<(), PatternError> {
        self.expression(ast);
        let steps = if self.ignores_case { self.steps + self.folding_steps } else { self.steps };
        if self.ranges > RANGES_MAX || steps > STEPS_MAX {
            return Err(PatternError::TooWide);
        }
        effort.spend_on_classes(steps)
    }

    fn expression(&mut self, ast: &mut Ast) {
        match ast {
            Ast::Empty(_) | Ast::Literal(_) | Ast::Dot(_) => {}
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Assertion(assertion) => *ast = of_ascii(assertion),
            Ast::ClassUnicode(_) => {
                self.fold(Extent::UNICODE);
                self.ranges += UNICODE_RANGES;
            }
            Ast::ClassPerl(class) => {
                let ClassPerl { span, .. } = **class;
                let kind = ClassSet::Item(ClassSetItem::Ascii(ascii_class(class)));
                *ast = Ast::class_bracketed(ClassBracketed { span, negated: false, kind });
            }
            Ast::ClassBracketed(class) => self.ranges += self.class(class).ranges,
            Ast::Repetition(repetition) => self.expression(&mut repetition.ast),
            Ast::Group(group) => {
                if let Some(flags) = group.flags() {
                    self.flags(flags);
                }
                self.expression(&mut group.ast);
            }
            Ast::Alternation(alternation) => alternation.asts.iter_mut().for_each(|ast| self.expression(ast)),
            Ast::Concat(concat) => concat.asts.iter_mut().for_each(|ast| self.expression(ast)),
        }
    }

    fn flags(&mut self, flags: &Flags) {
        self.ignores_case |= flags.flag_state(Flag::CaseInsensitive) == Some(true);
    }

    /// The characters of a class are looked at one by one for what else they may be where case is ignored.
    fn fold(&mut self, extent: Extent) {
        self.steps += extent.ranges;
        self.folding_steps += extent.chars;
    }

    fn class(&mut self, class: &mut ClassBracketed) -> Extent {
        let inner = self.set(&mut class.kind);
        self.fold(inner);
        let outer = self.with_cases(inner).negated(class.negated);
        self.steps += outer.ranges;
        outer
    }

    fn with_cases(&self, extent: Extent) -> Extent {
        match self.ignores_case {
            true => {
                Extent::new(extent.ranges + (extent.chars * CASES).min(CASED_CHARS), extent.chars * CASES)
            }
            false => extent,
        }
    }

    fn set(&mut self, set: &mut ClassSet) -> Extent {
        match set {
            ClassSet::Item(item) => self.item(item),
            ClassSet::BinaryOp(operation) => {
                let ClassSetBinaryOp { lhs, rhs, .. } = operation;
                let (left, right) = (self.set(lhs), self.set(rhs));
                self.fold(left);
                self.fold(right);
                // `~~` has three goes at both.
                self.steps += 3 * (left.ranges + right.ranges);
                left.and(right).negated(true)
            }
        }
    }

    fn item(&mut self, item: &mut ClassSetItem) -> Extent {
        match item {
            ClassSetItem::Empty(_) => Extent::default(),
            ClassSetItem::Literal(_) => Extent::new(1, 1),
            ClassSetItem::Range(range) => {
                let (start, end) = (u32::from(range.start.c), u32::from(range.end.c));
                Extent::new(1, end.abs_diff(start) as usize + 1)
            }
            ClassSetItem::Ascii(class) => Extent::new(4, 128).negated(class.negated),
            ClassSetItem::Unicode(_) => {
                self.fold(Extent::UNICODE);
                Extent::UNICODE
            }
            ClassSetItem::Perl(class) => {
                *item = ClassSetItem::Ascii(ascii_class(class));
                self.item(item)
            }
            ClassSetItem::Bracketed(class) => self.class(class),
            ClassSetItem::Union(union) => {
                let mut all = Extent::default();
                for item in &mut union.items {
                    let is_class = !matches!(item, ClassSetItem::Literal(_) | ClassSetItem::Range(_));
                    all = all.and(self.item(item));
                    // Each class is merged with all that is there, which others are found a place in.
                    self.steps += if is_class { all.ranges } else { 0 };
                }
                all
            }
        }
    }
}

fn ascii_class(class: &ClassPerl) -> ClassAscii {
    let kind = match class.kind {
        ClassPerlKind::Digit => ClassAsciiKind::Digit,
        ClassPerlKind::Space => ClassAsciiKind::Space,
        ClassPerlKind::Word => ClassAsciiKind::Word,
    };
    ClassAscii { span: class.span, kind, negated: class.negated }
}

/// `\b` as `(?-u:\b)`.
fn of_ascii(assertion: &Assertion) -> Ast {
    let span = assertion.span;
    let items = [FlagsItemKind::Negation, FlagsItemKind::Flag(Flag::Unicode)];
    let items = items.map(|kind| FlagsItem { span, kind });
    let kind = GroupKind::NonCapturing(Flags { span, items: items.to_vec() });
    Ast::group(Group { span, kind, ast: Box::new(Ast::assertion(assertion.clone())) })
}

#[cfg(test)]
mod tests {
    use regex_syntax::hir::HirKind;

    use super::*;

    /// What a pattern is made of: expressions, ranges of characters.
    fn size(hir: &Hir) -> (usize, usize) {
        let below = |(nodes, ranges): (usize, usize), sub: &Hir| {
            let (more_nodes, more_ranges) = size(sub);
            (nodes + more_nodes, ranges + more_ranges)
        };
        match hir.kind() {
            HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => (1, class.ranges().len()),
            HirKind::Class(regex_syntax::hir::Class::Bytes(class)) => (1, class.ranges().len()),
            kind => kind.subs().iter().fold((1, 0), below),
        }
    }

    fn parsed(pattern: &str) -> Result<Hir, PatternError> {
        parse(pattern, &mut Effort::default())
    }

    fn measured(pattern: &str) -> Reader {
        let mut ast = ParserBuilder::new().build().parse(pattern).expect("a pattern");
        let mut reader = Reader::default();
        reader.expression(&mut ast);
        reader
    }

    /// Repeats `unit` as often as a pattern may be long, between what it begins and ends with.
    fn filled(begin: &str, unit: &str, end: &str) -> String {
        let times = (PATTERN_BYTES_MAX - begin.len() - end.len()) / unit.len();
        format!("{begin}{}{end}", unit.repeat(times))
    }

    #[test]
    fn hostile_patterns_are_refused_before_they_grow() {
        let nested = |open: &str, inner: &str| format!("{open}{}{}", inner, "]".repeat(open.len()));
        let hostile = [
            filled("", r"\pL", ""),
            filled("", r"\PL|", "a"),
            filled("[", r"\pL", "]"),
            filled("", r"[^\pN]", ""),
            filled("(?i)", r"[\x00-\x{10FFFF}]", ""),
            filled("(?i)", r"\pL", ""),
            filled("", r"(?i:[^\pL])", ""),
            format!("(?i)[{}a]", r"\pL&&".repeat(200)),
            filled("[", "[a&&b]", "]"),
            format!("(?i){}", nested(&"[".repeat(200), r"\pL")),
            filled("", &nested(&"[".repeat(200), r"\pL\pN"), ""),
            filled(
                "[",
                &('\u{4e00}'..'\u{9fff}')
                    .step_by(2)
                    .take(6_000)
                    .map(|c| format!("[{c}]"))
                    .collect::<String>(),
                "]",
            ),
        ];
        for pattern in hostile {
            let begin: String = pattern.chars().take(30).collect();
            assert!(pattern.len() <= PATTERN_BYTES_MAX, "{begin}");
            assert_eq!(parsed(&pattern).unwrap_err(), PatternError::TooWide, "{begin}");
        }
        assert_eq!(parsed(&"a".repeat(PATTERN_BYTES_MAX + 1)).unwrap_err(), PatternError::TooLong);
    }

    /// Whatever fills a pattern, what is made of it is of the order of its text and of the bound of ranges.
    #[test]
    fn no_pattern_becomes_large() {
        let units = [
            r"\w",
            r"\W",
            r"\d",
            r"\s",
            r"[\w]",
            r"[^\w]",
            "[a-z]",
            "[^a]",
            ".",
            "a?",
            "a|",
            "()",
            "(?i)a",
            "k",
            r"\b",
            "[[:alpha:]]",
            "a{9}",
            "(a)",
            r"\x{4e00}",
            "é",
            "[aé]",
            "[a--b]",
            r"\.",
            "(?:a|b)",
        ];
        for (unit, flags) in units.iter().flat_map(|unit| [(unit, ""), (unit, "(?i)"), (unit, "(?s)")]) {
            let pattern = filled(flags, unit, "");
            match parsed(&pattern) {
                Ok(hir) => {
                    let (nodes, ranges) = size(&hir);
                    let characters = pattern.len();
                    // A letter without case, a dot: a handful of ranges each.
                    assert!(nodes <= 2 * characters + 8, "{flags}{unit}: {nodes}");
                    assert!(ranges <= RANGES_MAX + 6 * characters, "{flags}{unit}: {ranges}");
                }
                Err(error) => assert_eq!(error, PatternError::TooWide, "{flags}{unit}"),
            }
        }
    }

    #[test]
    fn no_class_has_more_than_was_reckoned_with() {
        for pattern in [
            r"\pL",
            r"\PL",
            r"\p{Cn}",
            r"\P{Grapheme_Base}",
            r"[\pL\pN]",
            r"[^\pL&&\pN]",
            r"[\pL~~\p{Greek}]",
            "[a-z&&[^aeiou]]",
            r"(?i)\pL",
            r"(?i)[a-zé-ü]",
            "(?i)[^k]",
            r"[[[\w]]]",
            r"[^\W\d]",
            "[[:^alpha:]]",
            r"(?i)[\x00-\x{10FFFF}]",
        ] {
            let (_, ranges) = size(&parsed(pattern).expect("a pattern"));
            let reader = measured(pattern);
            assert!(reader.ranges >= ranges, "{pattern}: {} < {ranges}", reader.ranges);
            let steps = reader.steps + reader.folding_steps;
            assert!(steps >= ranges, "{pattern}: {steps} < {ranges}");
        }
    }

    /// What people write is far from the bounds.
    #[test]
    fn ordinary_patterns_are_read() {
        for pattern in [
            r"(?i)[\p{L}\p{N}_.-]+",
            r"\w[\w.-]{0,248}",
            r"(dev|test|prod)\.[a-z0-9]+(-[a-z0-9]+)*\.v\d{1,3}",
            "(?i)orders-.*",
            &filled("", r"[a-z]+\.\w+|", "x"),
        ] {
            assert!(parsed(pattern).is_ok(), "{pattern}");
        }
    }
}
