//! Prices of models, in integer nano-USD per token, and the cost of a call.
//!
//! 1 USD per million tokens is 1,000 nano-USD per token, so list prices with up to three decimals are exact.

use std::collections::HashMap;

use crate::chat::Usage;

/// A dated price list. Read it with any serde format; the shape is `conf/prices.yaml`'s.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(try_from = "RawPrices")]
pub struct Prices {
    as_of: String,
    version: String,
    exact: HashMap<String, Model>,
    /// Patterns with a `*`, the most literal bytes first.
    globs: Vec<(String, Model)>,
}

/// What one token costs, in nano-USD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
}

/// Why a price list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    #[error(
        "{model}: {field} is {value}: write USD per million tokens, not negative, below 1000000, with at most three decimals"
    )]
    Amount { model: String, field: &'static str, value: String },
    #[error("{0} is priced twice: remove one entry")]
    Twice(String),
    #[error("a model without a name: write the provider's model name, or a pattern such as gpt-4o*")]
    Nameless,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Model {
    price: Price,
    /// Input tokens past which the second price holds for the whole request.
    long: Option<(u64, Price)>,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawPrices {
    /// Day on which the prices were read, `YYYY-MM-DD`.
    as_of: String,
    models: Vec<RawModel>,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawModel {
    /// The provider's model name; it prices its dated and `-latest` snapshots too. `*` matches any text.
    name: String,
    /// USD per million input tokens.
    input: f64,
    /// USD per million output tokens.
    output: f64,
    /// USD per million tokens read from the provider's prompt cache. Unset: as input.
    #[serde(default)]
    cache_read: Option<f64>,
    /// USD per million tokens written to the provider's prompt cache. Unset: as input.
    #[serde(default)]
    cache_write: Option<f64>,
    /// Prices of a request with a long input.
    #[serde(default)]
    long: Option<RawLong>,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawLong {
    /// Input tokens (cached ones included) past which these prices hold for the whole request.
    over: u64,
    input: f64,
    output: f64,
    #[serde(default)]
    cache_read: Option<f64>,
    #[serde(default)]
    cache_write: Option<f64>,
}

impl Prices {
    /// `conf/prices.yaml` as it was built in.
    pub const BUILTIN: &str = include_str!("../../../conf/prices.yaml");

    /// The day on which the prices were read.
    pub fn as_of(&self) -> &str {
        &self.as_of
    }

    /// Names this very list in audit events: its day, and eight digits of a hash over its entries.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.globs.is_empty()
    }

    /// This list, with `base` for the models that it does not price.
    #[must_use]
    pub fn over(mut self, base: &Prices) -> Prices {
        // An operator's glob or undated name means all that it matches; a built-in name must not slip past it. Decided by this
        // list alone, before any of the other's entries are in it.
        let missing: Vec<_> = base.exact.iter().filter(|(name, _)| self.lookup(name).is_none()).collect();
        self.exact.extend(missing.into_iter().map(|(name, model)| (name.clone(), *model)));
        for (glob, model) in &base.globs {
            if !self.globs.iter().any(|(mine, _)| mine == glob) {
                self.globs.push((glob.clone(), *model));
            }
        }
        self.globs.sort_by(|a, b| literal(&b.0).cmp(&literal(&a.0)).then_with(|| a.0.cmp(&b.0)));
        if self.as_of.is_empty() {
            self.as_of.clone_from(&base.as_of);
        }
        self.version = version_of(&self);
        self
    }

    /// The price of a call to `model` (the provider's name for it) with `input` tokens. `None`: unknown.
    pub fn price(&self, model: &str, input: u64) -> Option<Price> {
        let model = self.lookup(model)?;
        Some(match model.long {
            Some((over, price)) if input > over => price,
            _ => model.price,
        })
    }

    /// What a call cost, in nano-USD. `None`: the model's price is unknown, which is not the same as free.
    pub fn cost(&self, model: &str, usage: &Usage) -> Option<u64> {
        let price = self.price(model, usage.input)?;
        // `Usage::input` includes cached tokens (DESIGN 5.5); an upstream that claims more cached than input is not trusted
        // with a negative rest.
        let fresh = usage.input.saturating_sub(usage.cache_read.saturating_add(usage.cache_write));
        let parts = [
            (fresh, price.input),
            (usage.cache_read, price.cache_read),
            (usage.cache_write, price.cache_write),
            (usage.output, price.output),
        ];
        let total: u128 = parts.iter().map(|(n, each)| u128::from(*n) * u128::from(*each)).sum();
        Some(u64::try_from(total).unwrap_or(u64::MAX))
    }

    fn lookup(&self, model: &str) -> Option<&Model> {
        self.exact
            .get(model)
            .or_else(|| self.exact.get(undated(model)?))
            .or_else(|| self.globs.iter().find(|(glob, _)| glob_matches(glob, model)).map(|(_, m)| m))
    }
}

impl TryFrom<RawPrices> for Prices {
    type Error = PriceError;

    fn try_from(raw: RawPrices) -> Result<Self, PriceError> {
        let mut prices = Prices { as_of: raw.as_of, ..Prices::default() };
        for model in raw.models {
            if model.name.is_empty() {
                return Err(PriceError::Nameless);
            }
            let name = model.name;
            let price = price(&name, model.input, model.output, model.cache_read, model.cache_write)?;
            let long = match model.long {
                None => None,
                Some(l) => {
                    Some((l.over, self::price(&name, l.input, l.output, l.cache_read, l.cache_write)?))
                }
            };
            let entry = Model { price, long };
            if name.contains('*') {
                if prices.globs.iter().any(|(glob, _)| *glob == name) {
                    return Err(PriceError::Twice(name));
                }
                prices.globs.push((name, entry));
            } else if prices.exact.insert(name.clone(), entry).is_some() {
                return Err(PriceError::Twice(name));
            }
        }
        prices.globs.sort_by(|a, b| literal(&b.0).cmp(&literal(&a.0)).then_with(|| a.0.cmp(&b.0)));
        prices.version = version_of(&prices);
        Ok(prices)
    }
}

impl schemars::JsonSchema for Prices {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Prices".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        RawPrices::json_schema(generator)
    }
}

fn price(
    model: &str,
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
) -> Result<Price, PriceError> {
    let nano = |field, usd: f64| {
        nano_per_token(usd).ok_or_else(|| PriceError::Amount {
            model: model.to_owned(),
            field,
            value: usd.to_string(),
        })
    };
    Ok(Price {
        input: nano("input", input)?,
        output: nano("output", output)?,
        cache_read: nano("cache_read", cache_read.unwrap_or(input))?,
        cache_write: nano("cache_write", cache_write.unwrap_or(input))?,
    })
}

/// USD per million tokens → nano-USD per token; `None` unless that is a whole number in range.
fn nano_per_token(usd_per_million: f64) -> Option<u64> {
    if !(0.0..1e6).contains(&usd_per_million) {
        return None;
    }
    let nano = usd_per_million * 1_000.0;
    let whole = nano.round();
    // A decimal such as 0.3 is not exact in binary; the error stays far below a millionth of a nano-USD in this range.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked: whole is in 0..=1e9
    ((nano - whole).abs() < 1e-6).then_some(whole as u64)
}

/// `model` without a snapshot suffix: `-YYYY-MM-DD`, `-YYYYMMDD`, `@YYYYMMDD` or `-latest`.
fn undated(model: &str) -> Option<&str> {
    if let Some(name) = model.strip_suffix("-latest") {
        return Some(name);
    }
    for shape in ["-dddd-dd-dd", "-dddddddd", "@dddddddd"] {
        let bytes = model.as_bytes();
        let Some(at) = bytes.len().checked_sub(shape.len()).filter(|at| *at > 0) else { continue };
        let fits = |(byte, form): (&u8, u8)| match form {
            b'd' => byte.is_ascii_digit(),
            other => *byte == other,
        };
        if bytes[at..].iter().zip(shape.bytes()).all(fits) {
            return Some(&model[..at]);
        }
    }
    None
}

fn literal(glob: &str) -> usize {
    glob.bytes().filter(|b| *b != b'*').count()
}

/// `*` matches any text, also none. Greedy with one backtrack point: linear in practice, quadratic at worst, and the patterns
/// are the operator's.
fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(byte) if *byte == text[t] => {
                g += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                g = at + 1;
                t = from + 1;
            }
        }
    }
    glob[g..].iter().all(|b| *b == b'*')
}

fn version_of(prices: &Prices) -> String {
    let globs = prices.globs.iter().map(|(glob, model)| (glob, model));
    let mut names: Vec<_> = prices.exact.iter().chain(globs).collect();
    names.sort_by_key(|(name, _)| name.as_str());
    let mut hash = blake3::Hasher::new();
    for (name, model) in names {
        hash.update(name.as_bytes());
        hash.update(&[0]);
        let mut add = |p: &Price| {
            for n in [p.input, p.output, p.cache_read, p.cache_write] {
                hash.update(&n.to_le_bytes());
            }
        };
        add(&model.price);
        if let Some((over, price)) = &model.long {
            add(price);
            hash.update(&over.to_le_bytes());
        }
    }
    format!("{}+{}", prices.as_of, &hash.finalize().to_hex()[..8])
}

#[cfg(test)]
mod tests;
