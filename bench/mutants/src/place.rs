//! Where in a file the mutants belong: listed positions become ranges of bytes, by the parsed file.

use std::{collections::HashMap, ops::Range};

use proc_macro2::LineColumn;
use syn::{spanned::Spanned, visit::Visit};

use crate::{
    Failure,
    listing::{Genre, Mutant},
};

/// A range of a file that mutants change.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) range: Range<usize>,
    pub(crate) change: Change,
}

#[derive(Debug)]
pub(crate) enum Change {
    /// The expression in this range gives way to another text. `field` is the name of a field written without its value.
    Expression { field: Option<String>, instead: Vec<(u32, String)> },
    /// A function returns this at once; the range is empty and stands before its first statement.
    Body { instead: Vec<(u32, String)> },
    /// A match arm is passed over; the range is empty and stands behind its pattern.
    Arm { id: u32 },
    /// The guard in this range is always true, or always false.
    Guard { always: Vec<(u32, bool)> },
    /// The word `const` of a function, which goes while these mutants are in the function: a switch is read when it runs.
    Const { function: String, inside: Vec<u32> },
}

impl Change {
    fn ids(&self) -> Vec<u32> {
        match self {
            Change::Expression { instead, .. } | Change::Body { instead } => {
                instead.iter().map(|(id, _)| *id).collect()
            }
            Change::Arm { id } => vec![*id],
            Change::Guard { always } => always.iter().map(|(id, _)| *id).collect(),
            Change::Const { inside, .. } => inside.clone(),
        }
    }
}

/// Where the mutants of one file belong, and the ids of those that have no place where a switch can stand: in a constant, or around a
/// `let`.
pub(crate) fn places(text: &str, mutants: &[&Mutant]) -> Result<(Vec<Place>, Vec<u32>), Failure> {
    let file = syn::parse_file(text)?;
    let mut listed: HashMap<(usize, usize, bool), Vec<&Mutant>> = HashMap::new();
    for mutant in mutants {
        let start = mutant.span.start;
        listed.entry((start.line, start.column, mutant.genre == Genre::FnValue)).or_default().push(mutant);
    }
    let mut finder = Finder { text, listed, places: Vec::new(), constant: false };
    finder.visit_file(&file);
    let left = finder.listed.into_values().flatten().map(|mutant| mutant.id).collect();
    let mut places = finder.places;
    // Outer ones first: an empty range comes before what begins where it stands.
    places.sort_by_key(|place| (place.range.start, !place.range.is_empty(), usize::MAX - place.range.end));
    Ok((places, left))
}

struct Finder<'a> {
    text: &'a str,
    /// By line, column, and whether a function's body is meant: what is not placed yet.
    listed: HashMap<(usize, usize, bool), Vec<&'a Mutant>>,
    places: Vec<Place>,
    /// Inside of what is evaluated when it is compiled.
    constant: bool,
}

impl<'a> Finder<'a> {
    /// The mutants listed at this place that are of one of these genres; none where there can be no switch.
    fn take(&mut self, at: LineColumn, body: bool, genres: &[Genre]) -> Vec<&'a Mutant> {
        if self.constant {
            return Vec::new();
        }
        let Some(here) = self.listed.get_mut(&(at.line, at.column + 1, body)) else { return Vec::new() };
        let (taken, left) =
            std::mem::take(here).into_iter().partition(|mutant| genres.contains(&mutant.genre));
        *here = left;
        taken
    }

    fn within(&mut self, constant: bool, visit: impl FnOnce(&mut Self)) {
        let outside = self.constant;
        self.constant |= constant;
        visit(self);
        self.constant = outside;
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block, visit: impl FnOnce(&mut Self)) {
        let before = self.places.len();
        if let Some(first) = block.stmts.first()
            && !returns_opaque(&signature.output)
        {
            let span = first.span();
            let taken = self.take(span.start(), true, &[Genre::FnValue]);
            if !taken.is_empty() {
                let at = span.byte_range().start;
                let instead = taken.iter().map(|mutant| (mutant.id, mutant.replacement.clone())).collect();
                self.places.push(Place { range: at..at, change: Change::Body { instead } });
            }
        }
        visit(self);
        if let Some(word) = &signature.constness {
            let inside: Vec<u32> =
                self.places[before..].iter().flat_map(|place| place.change.ids()).collect();
            if !inside.is_empty() {
                let change = Change::Const { function: signature.ident.to_string(), inside };
                self.places.push(Place { range: word.span().byte_range(), change });
            }
        }
    }

    fn source(&self, node: &impl Spanned) -> &'a str {
        &self.text[node.span().byte_range()]
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block, |finder| syn::visit::visit_item_fn(finder, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block, |finder| syn::visit::visit_impl_item_fn(finder, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        match &item.default {
            Some(block) => {
                self.function(&item.sig, block, |finder| syn::visit::visit_trait_item_fn(finder, item))
            }
            None => syn::visit::visit_trait_item_fn(self, item),
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.within(true, |finder| syn::visit::visit_item_const(finder, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.within(true, |finder| syn::visit::visit_impl_item_const(finder, item));
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.within(true, |finder| syn::visit::visit_trait_item_const(finder, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        // A closure in it (`LazyLock::new(|| …)`) runs later.
        self.within(true, |finder| syn::visit::visit_item_static(finder, item));
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        let outside = std::mem::replace(&mut self.constant, false);
        syn::visit::visit_expr_closure(self, closure);
        self.constant = outside;
    }

    fn visit_expr_const(&mut self, block: &'ast syn::ExprConst) {
        self.within(true, |finder| syn::visit::visit_expr_const(finder, block));
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
        self.within(true, |finder| finder.visit_expr(&repeat.len));
    }

    fn visit_type_array(&mut self, array: &'ast syn::TypeArray) {
        self.within(true, |finder| syn::visit::visit_type_array(finder, array));
    }

    fn visit_generic_argument(&mut self, argument: &'ast syn::GenericArgument) {
        self.within(true, |finder| syn::visit::visit_generic_argument(finder, argument));
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.within(true, |finder| syn::visit::visit_variant(finder, variant));
    }

    fn visit_pat(&mut self, pattern: &'ast syn::Pat) {
        self.within(true, |finder| syn::visit::visit_pat(finder, pattern));
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        if !holds_let(&binary.left) && !holds_let(&binary.right) {
            let taken = self.take(binary.op.span().start(), false, &[Genre::BinaryOperator]);
            if !taken.is_empty() {
                let (left, right) = (self.source(&binary.left), self.source(&binary.right));
                let instead = taken
                    .iter()
                    .map(|mutant| (mutant.id, format!("({left}) {} ({right})", mutant.replacement)));
                let change = Change::Expression { field: None, instead: instead.collect() };
                self.places.push(Place { range: binary.span().byte_range(), change });
            }
        }
        syn::visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let taken = self.take(unary.op.span().start(), false, &[Genre::UnaryOperator]);
        if !taken.is_empty() {
            let operand = self.source(&unary.expr);
            let instead = taken.iter().map(|mutant| (mutant.id, operand.to_owned())).collect();
            let change = Change::Expression { field: None, instead };
            self.places.push(Place { range: unary.span().byte_range(), change });
        }
        syn::visit::visit_expr_unary(self, unary);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        for mutant in self.take(arm.span().start(), false, &[Genre::MatchArm]) {
            let at = arm.pat.span().byte_range().end;
            self.places.push(Place { range: at..at, change: Change::Arm { id: mutant.id } });
        }
        if let Some((_, guard)) = &arm.guard {
            let taken = self.take(guard.span().start(), false, &[Genre::MatchArmGuard]);
            if !taken.is_empty() {
                let always = taken.iter().map(|mutant| (mutant.id, mutant.replacement == "true")).collect();
                self.places
                    .push(Place { range: guard.span().byte_range(), change: Change::Guard { always } });
            }
        }
        syn::visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, literal: &'ast syn::ExprStruct) {
        if let Some(rest) = &literal.rest {
            for field in &literal.fields {
                let syn::Member::Named(name) = &field.member else { continue };
                let taken = self.take(field.span().start(), false, &[Genre::StructField]);
                if !taken.is_empty() {
                    let base = self.source(rest.as_ref());
                    let instead =
                        taken.iter().map(|mutant| (mutant.id, format!("({base}).{name}"))).collect();
                    let field_name = field.colon_token.is_none().then(|| name.to_string());
                    let change = Change::Expression { field: field_name, instead };
                    self.places.push(Place { range: field.expr.span().byte_range(), change });
                }
            }
        }
        syn::visit::visit_expr_struct(self, literal);
    }
}

/// Whether a function returns `impl Trait`: every `return` of it must be of one type.
fn returns_opaque(output: &syn::ReturnType) -> bool {
    struct Opaque(bool);
    impl<'ast> Visit<'ast> for Opaque {
        fn visit_type_impl_trait(&mut self, _: &'ast syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut opaque = Opaque(false);
    opaque.visit_return_type(output);
    opaque.0
}

/// Whether an operand of `&&` is a `let` of a chain.
fn holds_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => holds_let(&binary.left) || holds_let(&binary.right),
        _ => false,
    }
}
