//! The copy of the tree with every mutant in it, each behind its switch.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use crate::{
    Failure,
    listing::Mutant,
    place::{Change, Place, places},
};

/// Why a mutant is not in the copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LeftOut {
    /// It does not compile.
    Unviable,
    /// No switch can stand at its place; cargo-mutants itself can run it.
    NoSwitch,
}

pub(crate) struct Woven {
    tree: PathBuf,
    count: usize,
    files: BTreeMap<String, File>,
    left_out: HashMap<u32, LeftOut>,
}

struct File {
    original: String,
    places: Vec<Place>,
    written: Written,
}

impl Woven {
    pub(crate) fn new(tree: &Path, mutants: &[Mutant]) -> Result<Woven, Failure> {
        let mut by_file: BTreeMap<String, Vec<&Mutant>> = BTreeMap::new();
        for mutant in mutants {
            by_file.entry(mutant.file.clone()).or_default().push(mutant);
        }
        let mut woven = Woven {
            tree: tree.to_owned(),
            count: mutants.len(),
            files: BTreeMap::new(),
            left_out: HashMap::new(),
        };
        for (name, mutants) in by_file {
            let original =
                fs::read_to_string(tree.join(&name)).map_err(|error| format!("{name}: {error}"))?;
            if original.contains("crate::mutant::on(") {
                return Err(format!("{name} has been changed already: give a fresh copy of the tree").into());
            }
            let (places, none) = places(&original, &mutants).map_err(|error| format!("{name}: {error}"))?;
            woven.left_out.extend(none.into_iter().map(|id| (id, LeftOut::NoSwitch)));
            woven.files.insert(name, File { original, places, written: Vec::new() });
        }
        Ok(woven)
    }

    /// How many mutants there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn left_out(&self, id: u32) -> Option<LeftOut> {
        self.left_out.get(&id).copied()
    }

    /// Writes all files that hold mutants, and the switches.
    pub(crate) fn write(&mut self) -> Result<(), Failure> {
        for (name, file) in &mut self.files {
            let (text, written) = weave(&file.original, &file.places, &self.left_out);
            file.written = written;
            fs::write(self.tree.join(name), text)?;
        }
        Ok(())
    }

    /// Adds the module of switches to the package whose sources are in `sources`.
    pub(crate) fn add_switches(&self, sources: &Path, count: usize) -> Result<(), Failure> {
        let root = sources.join("lib.rs");
        let text = fs::read_to_string(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        fs::write(&root, format!("{text}\nmod mutant;\n"))?;
        let switches = include_str!("switch.rs.txt").replace("COUNT", &(count + 1).to_string());
        Ok(fs::write(sources.join("mutant.rs"), switches)?)
    }

    /// Takes out what makes the compiler complain that a function is not `const`; false if there are no mutants in it.
    pub(crate) fn must_be_const(&mut self, function: &str) -> bool {
        let before = self.left_out.len();
        let places = self.files.values().flat_map(|file| &file.places);
        for place in places {
            if let Change::Const { function: name, inside } = &place.change
                && name == function
            {
                for id in inside {
                    self.left_out.entry(*id).or_insert(LeftOut::NoSwitch);
                }
            }
        }
        self.left_out.len() > before
    }

    /// Takes out what makes the compiler complain at this range of a file; false if nothing there is a mutant's.
    pub(crate) fn complained(&mut self, file: &str, range: &Range<usize>) -> bool {
        let Some(file) = self.files.get(file) else { return false };
        let inside = |around: &Range<usize>| around.start <= range.start && range.end <= around.end;
        let innermost = file
            .written
            .iter()
            .filter(|(around, ids, _)| inside(around) && ids.iter().any(|id| !self.left_out.contains_key(id)))
            .min_by_key(|(around, _, own)| (!own, around.len()));
        let Some((_, ids, own)) = innermost else { return false };
        let why = if *own { LeftOut::Unviable } else { LeftOut::NoSwitch };
        for id in ids.clone() {
            self.left_out.entry(id).or_insert(why);
        }
        true
    }
}

/// Where in a written file mutants stand, and whether it is nothing but their own text.
type Written = Vec<(Range<usize>, Vec<u32>, bool)>;

fn weave(original: &str, places: &[Place], left_out: &HashMap<u32, LeftOut>) -> (String, Written) {
    let mut weaver = Weaver { original, places, left_out, text: String::new(), written: Vec::new(), next: 0 };
    weaver.copy(0..original.len());
    (weaver.text, weaver.written)
}

struct Weaver<'a> {
    original: &'a str,
    places: &'a [Place],
    left_out: &'a HashMap<u32, LeftOut>,
    text: String,
    written: Written,
    next: usize,
}

impl Weaver<'_> {
    /// Writes this range, with all places in it.
    fn copy(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while let Some(place) = self.places.get(self.next)
            && place.range.end <= range.end
        {
            self.next += 1;
            self.text.push_str(&self.original[at..place.range.start]);
            at = place.range.end;
            self.place(place);
        }
        self.text.push_str(&self.original[at..range.end]);
    }

    fn place(&mut self, place: &Place) {
        let start = self.text.len();
        let mut ids = Vec::new();
        match &place.change {
            Change::Const { inside, .. } => {
                if inside.iter().all(|id| self.left_out.contains_key(id)) {
                    self.copy(place.range.clone());
                }
            }
            Change::Expression { field, instead } => {
                let live = self.live(instead);
                if let (Some(field), false) = (field, live.is_empty()) {
                    self.text.push_str(field);
                    self.text.push_str(": ");
                }
                if live.is_empty() {
                    self.copy(place.range.clone());
                } else {
                    self.text.push('(');
                    for (id, text) in live {
                        self.text.push_str(&format!("if crate::mutant::on({id}) {{ "));
                        self.own(id, &text);
                        self.text.push_str(" } else ");
                        ids.push(id);
                    }
                    self.text.push_str("{ (");
                    self.copy(place.range.clone());
                    self.text.push_str(") })");
                }
            }
            Change::Body { instead } => {
                for (id, text) in self.live(instead) {
                    self.text.push_str(&format!("if crate::mutant::on({id}) {{ return "));
                    self.own(id, &text);
                    self.text.push_str("; }\n");
                    ids.push(id);
                }
            }
            Change::Arm { id } => {
                if !self.left_out.contains_key(id) {
                    self.text.push_str(&format!(" if !crate::mutant::on({id})"));
                    ids.push(*id);
                }
            }
            Change::Guard { always } => {
                let mut closing = 0;
                for (id, value) in always.iter().filter(|(id, _)| !self.left_out.contains_key(id)) {
                    let switch = if *value { "crate::mutant::on" } else { "!crate::mutant::on" };
                    let joined = if *value { "||" } else { "&&" };
                    self.text.push_str(&format!("({switch}({id}) {joined} ("));
                    ids.push(*id);
                    closing += 1;
                }
                self.copy(place.range.clone());
                self.text.push_str(&"))".repeat(closing));
            }
        }
        if !ids.is_empty() {
            self.written.push((start..self.text.len(), ids, false));
        }
    }

    fn own(&mut self, id: u32, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        self.written.push((start..self.text.len(), vec![id], true));
    }

    fn live(&self, instead: &[(u32, String)]) -> Vec<(u32, String)> {
        instead.iter().filter(|(id, _)| !self.left_out.contains_key(id)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::{Genre, Position, Span};

    /// Mutants where `marks` stand in the text, a line each: what is there, then genre and replacement.
    fn mutants(text: &str, marks: &[(&str, Genre, &str)]) -> Vec<Mutant> {
        let mutant = |(id, (mark, genre, replacement)): (u32, &(&str, Genre, &str))| {
            let at = text.find(mark).expect(mark);
            let line = text[..at].matches('\n').count() + 1;
            let column = text[..at].rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            Mutant {
                id,
                name: format!("{line}:{column}"),
                package: String::new(),
                file: String::new(),
                span: Span { start: Position { line, column } },
                replacement: (*replacement).to_owned(),
                genre: *genre,
            }
        };
        (1..).zip(marks).map(mutant).collect()
    }

    fn woven(text: &str, marks: &[(&str, Genre, &str)]) -> (String, Vec<u32>) {
        let mutants = mutants(text, marks);
        let (places, mut left) = places(text, &mutants.iter().collect::<Vec<_>>()).expect("it parses");
        left.sort_unstable();
        let (text, _) = weave(text, &places, &HashMap::new());
        syn::parse_file(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        (text.replace("crate::mutant::", ""), left)
    }

    #[test]
    fn every_genre_gets_its_switch() {
        use Genre::{BinaryOperator, FnValue, MatchArm, MatchArmGuard, StructField, UnaryOperator};
        for (text, marks, expect) in [
            (
                "fn f() -> bool { a }",
                &[("a }", FnValue, "true")][..],
                "fn f() -> bool { if on(1) { return true; }\na }",
            ),
            (
                "fn f() { é == b + c }",
                &[("==", BinaryOperator, "!="), ("+", BinaryOperator, "-"), ("+", BinaryOperator, "*")],
                "fn f() { (if on(1) { (é) != (b + c) } else { (é == (if on(2) { (b) - (c) } else if on(3) { (b) * (c) } else { (b + c) })) }) }",
            ),
            (
                "fn f() { x += 1; !y }",
                &[("x +=", FnValue, "()"), ("+=", BinaryOperator, "-="), ("!y", UnaryOperator, "")],
                "fn f() { if on(1) { return (); }\n(if on(2) { (x) -= (1) } else { (x += 1) }); (if on(3) { y } else { (!y) }) }",
            ),
            (
                "fn f() { match x { 1 | 2 => 3, n if n > 4 => 5, _ => 6 } }",
                &[
                    ("1 |", MatchArm, ""),
                    ("n > 4", MatchArmGuard, "true"),
                    ("n > 4", MatchArmGuard, "false"),
                    ("> 4", BinaryOperator, "<"),
                ],
                "fn f() { match x { 1 | 2 if !on(1) => 3, n if (on(2) || ((!on(3) && ((if on(4) { (n) < (4) } else { (n > 4) }))))) => 5, _ => 6 } }",
            ),
            (
                "fn f() { S { a, b: 1, ..S::new() } }",
                &[("a,", StructField, ""), ("b:", StructField, "")],
                "fn f() { S { a: (if on(1) { (S::new()).a } else { (a) }), b: (if on(2) { (S::new()).b } else { (1) }), ..S::new() } }",
            ),
        ] {
            assert_eq!(woven(text, marks), (expect.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn where_no_switch_can_stand_there_is_none() {
        for text in [
            "const A: u8 = 1 + 2;",
            "static A: [u8; 1 + 2] = x();",
            "fn f() { [0; 1 + 2] }",
            "fn f() { if let Some(1) = 1 + x {} }",
        ] {
            let place = if text.contains("let") { "&&" } else { "+" };
            let text = text.replace("1 + x", "x && y");
            let (out, left) = woven(&text, &[(place, Genre::BinaryOperator, "-")]);
            assert_eq!((out, left), (text, vec![1]));
        }
        let opaque = "fn f() -> impl Iterator<Item = u8> { a() }";
        assert_eq!(woven(opaque, &[("a()", Genre::FnValue, "x")]).1, [1]);
        // What runs later is no constant.
        assert_eq!(woven("static A: L = L::new(|| 1 + 2);", &[("+", Genre::BinaryOperator, "-")]).1, [0; 0]);
    }

    /// A function is no longer `const`, unless it must be.
    #[test]
    fn a_constant_function_gets_its_switches_if_no_constant_calls_it() {
        let text = "const fn f() -> u8 { 1 + 2 }";
        let listed = mutants(text, &[("+", Genre::BinaryOperator, "-")]);
        let (places, _) = places(text, &listed.iter().collect::<Vec<_>>()).expect("it parses");
        let mut woven =
            Woven { tree: PathBuf::new(), count: 1, files: BTreeMap::new(), left_out: HashMap::new() };
        let out = weave(text, &places, &woven.left_out).0;
        assert_eq!(out, " fn f() -> u8 { (if crate::mutant::on(1) { (1) - (2) } else { (1 + 2) }) }");
        woven
            .files
            .insert("f.rs".to_owned(), File { original: text.to_owned(), places, written: Vec::new() });
        assert!(!woven.must_be_const("g") && woven.must_be_const("f") && !woven.must_be_const("f"));
        assert_eq!(weave(text, &woven.files["f.rs"].places, &woven.left_out).0, text);
    }

    /// The compiler's complaint about a mutant takes it out and leaves the others in.
    #[test]
    fn complaints_find_their_mutant() {
        let text = "fn f() -> T { a == b }";
        let listed = mutants(
            text,
            &[
                ("a ==", Genre::FnValue, "X"),
                ("==", Genre::BinaryOperator, "!="),
                ("==", Genre::BinaryOperator, "<"),
            ],
        );
        let (places, _) = places(text, &listed.iter().collect::<Vec<_>>()).expect("it parses");
        let mut woven =
            Woven { tree: PathBuf::new(), count: 3, files: BTreeMap::new(), left_out: HashMap::new() };
        let (out, written) = weave(text, &places, &woven.left_out);
        woven.files.insert("f.rs".to_owned(), File { original: text.to_owned(), places, written });
        let at = |mark: &str| out.find(mark).map(|at| at..at + mark.len()).expect(mark);
        assert!(woven.complained("f.rs", &at("X")));
        assert_eq!(woven.left_out, HashMap::from([(1, LeftOut::Unviable)]));
        // About both together: no switch there.
        assert!(woven.complained("f.rs", &at("else if")));
        assert_eq!(woven.left_out(2), Some(LeftOut::NoSwitch));
        assert!(!woven.complained("f.rs", &at("fn")) && !woven.complained("g.rs", &at("X")));
        let file = woven.files.get("f.rs").expect("is there");
        assert_eq!(weave(&file.original, &file.places, &woven.left_out).0, text);
    }
}
