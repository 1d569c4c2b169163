//! Rules that are lists of terms: customers' names, code names of projects, up to a million in all.
//!
//! A term is a chain of tokens: a run of letters and digits, or one other character, or one ideograph. Texts are cut into the
//! same tokens as they arrive, each becomes one number, and a table says of every chain of such numbers whether a term begins
//! with it or is it. So a text costs one hash per token whatever the number of terms; a bit filter before the table answers
//! most questions from the cache; and word borders need no thought, since tokens end there. What the numbers say is found is
//! compared with the term's own text before it counts.
//!
//! An automaton over characters (aho-corasick) would have ten million states for a million terms, and miss the cache at each.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::units::Fold;

mod fold;
mod lexer;
mod list;

use fold::Class;
pub(super) use fold::TermFold;
pub(super) use lexer::Lexer;
use lexer::Token;
pub use list::TermList;

/// Longest term, in characters as folded.
pub(super) const MAX_TERM: usize = 200;
/// Terms of one rule.
const MAX_TERMS: usize = 1 << 20;
/// The chain of no token.
const ROOT: u64 = 0x5bd1_e995_7f4a_7c15;

/// The compiled terms of one rule.
#[derive(Debug)]
pub(super) struct Dictionary {
    /// By chain: whether a term goes on after it, and which term it is.
    chains: HashMap<u64, Chain, BuildHasherDefault<AsIs>>,
    /// Bits of the chains.
    filter: Filter,
    /// Bits of the first bytes of terms' first words.
    heads: Filter,
    /// The terms as folded, one after the other, and where each ends.
    texts: String,
    ends: Vec<u32>,
    /// Characters of the longest term.
    pub(super) longest: usize,
    /// Bytes of the longest first word.
    longest_word: usize,
    /// Whether some term begins with a mark.
    begins_with_mark: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Chain {
    goes_on: bool,
    /// Index of the term, and one.
    term: u32,
}

/// Says of single terms whether they can be used: for whoever knows where they stand.
#[derive(Debug)]
pub struct TermCheck {
    fold: Fold,
    table: TermFold,
}

impl TermCheck {
    #[allow(clippy::new_without_default)] // building the tables is no default
    pub fn new() -> TermCheck {
        let fold = Fold::new();
        TermCheck { table: TermFold::new(&fold), fold }
    }

    /// If it cannot be used, what to do. Never says which term it is: logs and error pages are no place for customers' names.
    pub fn check(&self, term: &str) -> Result<(), String> {
        check(&mut Tokens::default(), term, &self.fold, &self.table)
    }
}

/// A term taken apart.
#[derive(Debug, Default)]
struct Tokens {
    text: String,
    chars: usize,
    tokens: Vec<(u64, Class)>,
    first: Token,
}

fn check(tokens: &mut Tokens, term: &str, fold: &Fold, table: &TermFold) -> Result<(), String> {
    tokens.read(term.trim(), fold, table);
    if tokens.chars > MAX_TERM {
        return Err(format!("the term has {} characters, more than {MAX_TERM}: shorten it", tokens.chars));
    }
    if tokens.text.chars().filter(|c| c.is_alphanumeric()).count() < 2 {
        return Err(format!(
            "the term has {} characters and fewer than two letters or digits: it would be found everywhere",
            term.trim().chars().count()
        ));
    }
    Ok(())
}

impl Tokens {
    fn read(&mut self, term: &str, fold: &Fold, table: &TermFold) {
        self.text.clear();
        self.tokens.clear();
        (self.chars, self.first) = (0, Token::default());
        let mut word = Token::default();
        for c in term.chars() {
            let Some((folded, class)) = table.fold(c, fold) else { continue };
            self.chars += folded.chars;
            self.text.push_str(folded.as_str());
            if class == Class::Word {
                word.push_all(folded.as_bytes());
                continue;
            }
            self.end_word(&mut word);
            self.tokens.push((Token::of(folded.as_bytes()).number(), class));
        }
        self.end_word(&mut word);
    }

    fn end_word(&mut self, word: &mut Token) {
        if word.len > 0 {
            if self.tokens.is_empty() {
                self.first = *word;
            }
            self.tokens.push((word.number(), Class::Word));
        }
        *word = Token::default();
    }
}

impl Dictionary {
    /// The compiled terms of a list: built once for all that share it.
    pub(super) fn of(list: &TermList, fold: &Fold) -> Result<Arc<Dictionary>, String> {
        list.compiled(|terms| Dictionary::build(terms, fold).map(Arc::new))
    }

    fn build(terms: &[String], fold: &Fold) -> Result<Dictionary, String> {
        if terms.len() > MAX_TERMS {
            return Err(format!(
                "it has {} terms, more than {MAX_TERMS}: make it several rules",
                terms.len()
            ));
        }
        let table = TermFold::new(fold);
        let mut dictionary = Dictionary {
            chains: HashMap::with_capacity_and_hasher(terms.len(), BuildHasherDefault::default()),
            filter: Filter::default(),
            heads: Filter::default(),
            texts: String::new(),
            ends: Vec::with_capacity(terms.len()),
            longest: 0,
            longest_word: 0,
            begins_with_mark: false,
        };
        let mut heads = Vec::new();
        let mut tokens = Tokens::default();
        for (index, term) in terms.iter().enumerate() {
            let said = check(&mut tokens, term, fold, &table).and_then(|()| dictionary.add(&tokens));
            said.map_err(|message| format!("terms[{index}]: {message}"))?;
            heads.extend((1..=tokens.first.len.min(4)).map(|len| tokens.first.head(len)));
        }
        heads.sort_unstable();
        heads.dedup();
        dictionary.heads = Filter::new(heads.into_iter());
        dictionary.filter = Filter::new(dictionary.chains.keys().copied());
        Ok(dictionary)
    }

    fn add(&mut self, tokens: &Tokens) -> Result<(), String> {
        let mut chain = ROOT;
        for (at, (token, _)) in tokens.tokens.iter().enumerate() {
            chain = link(chain, *token);
            let entry = self.chains.entry(chain).or_default();
            if at + 1 < tokens.tokens.len() {
                entry.goes_on = true;
            } else if entry.term == 0 {
                self.texts.push_str(&tokens.text);
                let end = u32::try_from(self.texts.len());
                self.ends.push(end.map_err(|_| "its terms are longer than 4 GiB in all: remove some")?);
                entry.term = self.ends.len() as u32;
            } else {
                let term = entry.term;
                let other = self.text(term);
                // One chance in 2⁶⁴ for two terms, unless they are the same.
                if other != tokens.text {
                    return Err(format!(
                        "the term has {} characters and the same hash as one before it that has {}: remove one",
                        tokens.chars,
                        other.chars().count()
                    ));
                }
            }
        }
        self.longest = self.longest.max(tokens.chars);
        self.longest_word = self.longest_word.max(tokens.first.len);
        self.begins_with_mark |= tokens.tokens.first().is_some_and(|(_, class)| *class == Class::Mark);
        Ok(())
    }

    fn text(&self, term: u32) -> &str {
        let term = term as usize;
        let start = if term < 2 { 0 } else { self.ends[term - 2] as usize };
        &self.texts[start..self.ends[term - 1] as usize]
    }

    #[inline]
    fn chain(&self, chain: u64) -> Option<Chain> {
        if self.filter.may_have(chain) { self.chains.get(&chain).copied() } else { None }
    }

    /// Whether a term may begin with a word of which this much is known. What may not is never asked about again with more of
    /// it: the filter's errors must not hold what has left.
    fn may_begin(&self, word: &Token) -> bool {
        word.len <= self.longest_word && (1..=word.len.min(4)).all(|len| self.heads.may_have(word.head(len)))
    }
}

/// A chain with one more token.
fn link(chain: u64, token: u64) -> u64 {
    lexer::mix(chain.rotate_left(23) ^ token)
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// Sixteen bits a key, of which each sets one.
#[derive(Debug, Default)]
struct Filter(Box<[u64]>);

impl Filter {
    fn new(keys: impl ExactSizeIterator<Item = u64>) -> Filter {
        let words = (keys.len() / 4).next_power_of_two().max(16);
        let mut filter = Filter(vec![0; words].into());
        for key in keys {
            let (word, bit) = filter.place(key);
            filter.0[word] |= bit;
        }
        filter
    }

    #[inline]
    fn place(&self, key: u64) -> (usize, u64) {
        ((key >> 6) as usize & (self.0.len() - 1), 1 << (key & 63))
    }

    #[inline]
    fn may_have(&self, key: u64) -> bool {
        let (word, bit) = self.place(key);
        self.0[word] & bit != 0
    }
}

#[cfg(test)]
mod tests;
