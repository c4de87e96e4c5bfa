//! Canonical Huffman codes of bounded length (RFC 1951, 3.2.2).

/// A symbol's code, its first bit lowest, and how many bits it has: 0 where the symbol does not occur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) bits: u16,
    pub(super) len: u8,
}

/// More symbols than any alphabet of deflate has.
const SYMBOLS_MAX: usize = 288;
const LEN_MAX: usize = 15;

/// How long the codes of `frequencies.len()` symbols are to be, none above `len_max`: those of Huffman, bent to the bound.
///
/// At least two symbols get a code, since some readers take no code of one.
pub(super) fn lengths<const N: usize>(frequencies: &[u32; N], len_max: usize) -> [u8; N] {
    let mut sorted: Vec<(u32, usize)> = Vec::with_capacity(SYMBOLS_MAX);
    sorted.extend(frequencies.iter().enumerate().filter(|(_, f)| **f > 0).map(|(symbol, f)| (*f, symbol)));
    for symbol in 0..N {
        if sorted.len() >= 2 {
            break;
        }
        if frequencies.get(symbol) == Some(&0) {
            sorted.push((1, symbol));
        }
    }
    sorted.sort_unstable();
    let counts = bounded(depths(&sorted), len_max);
    let mut lengths = [0; N];
    // The rarest get the longest.
    let longest_first =
        (1..=LEN_MAX).rev().flat_map(|len| std::iter::repeat_n(len, counts.get(len).copied().unwrap_or(0)));
    for ((_, symbol), len) in sorted.iter().zip(longest_first) {
        if let Some(length) = lengths.get_mut(*symbol) {
            *length = len as u8;
        }
    }
    lengths
}

/// How many of the leaves lie how deep in Huffman's tree; those beyond the last are counted with it.
fn depths(sorted: &[(u32, usize)]) -> [usize; LEN_MAX + 1] {
    let leaves = sorted.len();
    let nodes = (2 * leaves).saturating_sub(1);
    let mut weights = [0u32; 2 * SYMBOLS_MAX];
    let mut parents = [0u16; 2 * SYMBOLS_MAX];
    for (weight, (frequency, _)) in weights.iter_mut().zip(sorted) {
        *weight = *frequency;
    }
    let weight = |weights: &[u32], node: usize| weights.get(node).copied().unwrap_or(u32::MAX);
    // Leaves and inner nodes both come in the order of their weights.
    let (mut leaf, mut inner) = (0, leaves);
    for made in leaves..nodes {
        let mut sum = 0;
        for _ in 0..2 {
            let takes_leaf =
                leaf < leaves && (inner >= made || weight(&weights, leaf) <= weight(&weights, inner));
            let next = if takes_leaf { &mut leaf } else { &mut inner };
            sum += weight(&weights, *next);
            if let Some(parent) = parents.get_mut(*next) {
                *parent = made as u16;
            }
            *next += 1;
        }
        if let Some(weight) = weights.get_mut(made) {
            *weight = sum;
        }
    }
    let mut counts = [0; LEN_MAX + 1];
    let mut depth_of = [0u16; 2 * SYMBOLS_MAX];
    for node in (0..nodes.saturating_sub(1)).rev() {
        let parent = usize::from(parents.get(node).copied().unwrap_or(0));
        let depth = depth_of.get(parent).copied().unwrap_or(0) + 1;
        if let Some(of_node) = depth_of.get_mut(node) {
            *of_node = depth;
        }
        if node < leaves
            && let Some(count) = counts.get_mut(usize::from(depth).min(LEN_MAX))
        {
            *count += 1;
        }
    }
    counts
}

/// Shortens codes beyond `len_max`, at the price of making shorter ones longer until all fit.
fn bounded(mut counts: [usize; LEN_MAX + 1], len_max: usize) -> [usize; LEN_MAX + 1] {
    let beyond: usize = counts.iter().skip(len_max + 1).sum();
    counts.iter_mut().skip(len_max + 1).for_each(|count| *count = 0);
    if let Some(count) = counts.get_mut(len_max) {
        *count += beyond;
    }
    // In units of the longest code, of which there may be 2^len_max.
    let mut taken: usize =
        counts.iter().enumerate().skip(1).take(len_max).map(|(len, count)| count << (len_max - len)).sum();
    while taken > 1 << len_max {
        // One of the longest takes its place beside one that was shorter, which goes a bit deeper.
        let Some(shorter) = (1..len_max).rev().find(|len| counts.get(*len).is_some_and(|count| *count > 0))
        else {
            break;
        };
        for (len, change) in [(shorter, -1), (shorter + 1, 2), (len_max, -1)] {
            if let Some(count) = counts.get_mut(len) {
                *count = count.saturating_add_signed(change);
            }
        }
        taken -= 1;
    }
    counts
}

/// The codes of these lengths.
pub(super) fn codes<const N: usize>(lengths: &[u8; N]) -> [Code; N] {
    let mut next = [0u32; LEN_MAX + 2];
    let mut code = 0;
    for len in 1..=LEN_MAX {
        if let Some(first) = next.get_mut(len) {
            *first = code;
        }
        code = (code + lengths.iter().filter(|l| usize::from(**l) == len).count() as u32) << 1;
    }
    lengths.map(|len| match next.get_mut(usize::from(len)) {
        Some(next) if len > 0 => {
            let bits = (*next as u16).reverse_bits() >> (16 - u32::from(len));
            *next += 1;
            Code { bits, len }
        }
        _ => Code::default(),
    })
}
