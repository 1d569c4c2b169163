//! The phrases that share an anchor: which of them may stand around it is said by a few words before it, mostly by the first.

use std::collections::BTreeMap;

use super::phrase::{self, Phrase, Start};

/// Phrases with one anchor.
#[derive(Debug)]
pub(super) struct Group(Vec<Part>);

/// Those of a group with the same before the anchor.
#[derive(Debug)]
struct Part {
    /// What the word before the anchor begins with, where both are parts of one word: `system` of `system_prompt`.
    lead: Option<Box<[u8]>>,
    /// Where the token before the anchor begins: among so many words before it, and how. None: the anchor is the first.
    near: Option<(usize, Heads)>,
    /// Words that may stand before the anchor, in any of them.
    back: usize,
    /// How they begin.
    heads: Heads,
    /// The phrases with each of these heads, in their order.
    phrases: Vec<(Head, u16)>,
}

/// The lower five bits of two bytes: letters, if they are two.
type Head = u16;

/// A set of heads, as bits.
#[derive(Debug, Clone, Copy, Default)]
struct Heads([u64; 16]);

/// Where the words before an anchor begin, found once for all of its phrases. Kept from anchor to anchor for its room.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// The anchor's own first, then backwards.
    starts: Vec<usize>,
    /// There are no more.
    all: bool,
}

/// A place where a phrase may stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The phrase's number.
    pub(super) phrase: u16,
    pub(super) start: usize,
    /// Words from there to the anchor.
    pub(super) back: usize,
}

/// All anchors with their groups, in order. Phrases have the numbers of their places.
pub(super) fn groups(phrases: &[Phrase]) -> BTreeMap<&[u8], Group> {
    type Parts<'a> = BTreeMap<(Option<&'a [u8]>, bool), Vec<(u16, &'a Phrase)>>;
    let mut groups: BTreeMap<&[u8], Parts<'_>> = BTreeMap::new();
    for (number, phrase) in (0..).zip(phrases) {
        for (lead, anchor) in phrase.anchors() {
            let part = (lead, phrase.near().is_some());
            groups.entry(anchor).or_default().entry(part).or_default().push((number, phrase));
        }
    }
    let group =
        |parts: Parts<'_>| Group(parts.into_iter().map(|((lead, _), all)| Part::new(lead, &all)).collect());
    groups.into_iter().map(|(anchor, parts)| (anchor, group(parts))).collect()
}

impl Group {
    /// Calls back for the places before an anchor at `at` at which its phrases may begin, nearest first, until told to stop; tells
    /// whether to go on.
    pub(super) fn each(
        &self,
        text: &[u8],
        at: usize,
        before: &mut Before,
        mut see: impl FnMut(Place) -> bool,
    ) -> bool {
        before.begin(at);
        self.0.iter().all(|part| part.each(text, before, &mut see))
    }
}

impl Part {
    fn new(lead: Option<&[u8]>, all: &[(u16, &Phrase)]) -> Part {
        let mut phrases = Vec::new();
        let mut near: Option<(usize, Heads)> = None;
        for (number, phrase) in all {
            phrases.extend(phrase.firsts().flat_map(heads).map(|head| (head, *number)));
            if let Some((back, starts)) = phrase.near() {
                let (most, all) = near.get_or_insert_default();
                *most = back.max(*most);
                all.extend(starts.flat_map(heads));
            }
        }
        phrases.sort_unstable();
        phrases.dedup();
        let mut heads = Heads::default();
        heads.extend(phrases.iter().map(|(head, _)| *head));
        let back = all.iter().map(|(_, phrase)| phrase.back()).max().unwrap_or_default();
        Part { lead: lead.map(Box::from), near, back, heads, phrases }
    }

    fn each(&self, text: &[u8], before: &mut Before, see: &mut impl FnMut(Place) -> bool) -> bool {
        if let Some(lead) = &self.lead
            && !before.nth(text, 1).is_some_and(|start| text[start..].starts_with(lead))
        {
            return true;
        }
        if let Some((back, heads)) = &self.near
            && !(1..=*back)
                .map_while(|nth| before.nth(text, nth))
                .any(|start| heads.has(head_at(text, start)))
        {
            return true;
        }
        for back in 0..=self.back {
            let Some(start) = before.nth(text, back) else { break };
            let here = head_at(text, start);
            if !self.heads.has(here) {
                continue;
            }
            let from = self.phrases.partition_point(|(head, _)| *head < here);
            for (_, phrase) in self.phrases[from..].iter().take_while(|(head, _)| *head == here) {
                if !see(Place { phrase: *phrase, start, back }) {
                    return false;
                }
            }
        }
        true
    }
}

impl Before {
    /// Begins anew at an anchor.
    fn begin(&mut self, anchor: usize) {
        self.starts.clear();
        self.starts.push(anchor);
        self.all = false;
    }

    fn nth(&mut self, text: &[u8], nth: usize) -> Option<usize> {
        while nth >= self.starts.len() && !self.all {
            match self.starts.last().and_then(|last| phrase::word_before(text, *last)) {
                Some(start) => self.starts.push(start),
                None => self.all = true,
            }
        }
        self.starts.get(nth).copied()
    }
}

fn head(first: u8, second: u8) -> Head {
    u16::from(first & 31) << 5 | u16::from(second & 31)
}

fn head_at(text: &[u8], at: usize) -> Head {
    head(text[at], text.get(at + 1).copied().unwrap_or_default())
}

/// Those that a text may have which begins so.
fn heads((first, second): Start) -> impl Iterator<Item = Head> {
    second.map_or(0..=31, |second| second..=second).map(move |second| head(first, second))
}

impl Heads {
    fn has(&self, head: Head) -> bool {
        self.0[usize::from(head >> 6)] >> (head & 63) & 1 == 1
    }
}

impl Extend<Head> for Heads {
    fn extend<I: IntoIterator<Item = Head>>(&mut self, heads: I) {
        heads.into_iter().for_each(|head| self.0[usize::from(head >> 6)] |= 1 << (head & 63));
    }
}
